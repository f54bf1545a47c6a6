package node

import (
	"fmt"
	"testing"
	"time"

	"holdfast/engine"
)

// TestFeedBudget: what every follower has passed is forgotten; a follower that falls out of the budget is told so, and what it kept from being taken
// apart goes then.
func TestFeedBudget(t *testing.T) {
	c := testConfig(t, t.TempDir(), 4)
	c.FeedHistory, c.KeeperInterval = 50, 20*time.Millisecond
	n := openNode(t, c)
	defer func() { closeNode(t, n) }()
	if _, err := n.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	quick, slow := "quick", "slow"
	for _, name := range []string{quick, slow} {
		if _, err := n.OpenCursor(t.Context(), "bucket", name); err != nil {
			t.Fatal(err)
		}
	}
	put(t, n, "gone/k", content(1, 20_000))
	if _, err := n.RemovePrefix(t.Context(), "bucket", "gone/"); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		put(t, n, fmt.Sprint("kept/", i), nil)
	}
	changes := func(name string) ([]engine.Change, error) {
		page, err := n.Changes(t.Context(), "bucket", name, engine.ChangesOptions{})
		return page.Changes, err
	}
	list, err := changes(slow)
	if err != nil || len(list) != 22 {
		t.Fatalf("%d changes, %v", len(list), err)
	}
	if err := n.MoveCursor(t.Context(), "bucket", quick, list[21].Sequence); err != nil {
		t.Fatal(err)
	}
	if err := n.MoveCursor(t.Context(), "bucket", slow, list[0].Sequence); err != nil {
		t.Fatal(err)
	}
	s := awaitTrash(t, n, "the first change is not forgotten", func(s *Status) bool { return s.Changes == 21 })
	if s.Trash != 1 || s.Cursors != 2 || s.ChangesBehind != 21 || s.SlowestBucket != "bucket" || s.LostCursors != 0 || s.Keeper.ChangesForgotten != 1 {
		t.Fatalf("the status is %+v", s)
	}
	closeNode(t, n)
	n = openNode(t, c)
	page, err := n.Expand(t.Context(), "bucket", slow, list[1].Sequence, engine.ExpandOptions{})
	if err != nil || len(page.Keys) != 1 || page.Keys[0].Key != "gone/k" || page.Keys[0].Version.Size != 20_000 {
		t.Fatalf("beneath what was removed lay %+v, %v", page, err)
	}
	for i := range 40 {
		put(t, n, fmt.Sprint("more/", i), nil)
	}
	s = awaitTrash(t, n, "the slow follower keeps everything", func(s *Status) bool { return s.LostCursors == 1 && s.Trash == 0 && s.Changes == 40 })
	if s.Keeper.CursorsLost != 1 || s.ChangesBehind != 40 {
		t.Errorf("the status is %+v", s)
	}
	_, err = changes(slow)
	for what, err := range map[string]error{
		"changes": err, "move": n.MoveCursor(t.Context(), "bucket", slow, list[1].Sequence),
		"expand": func() error {
			_, err := n.Expand(t.Context(), "bucket", slow, list[1].Sequence, engine.ExpandOptions{})
			return err
		}(),
	} {
		if !engine.Is(err, engine.KindRescan) {
			t.Errorf("%s of a lost cursor: %v", what, err)
		}
	}
	if list, err := changes(quick); err != nil || len(list) != 40 {
		t.Errorf("the quick follower has %d changes, %v", len(list), err)
	}
	found, err := n.OpenCursor(t.Context(), "bucket", slow)
	if err != nil || !found.Lost {
		t.Errorf("the lost cursor is %+v, %v", found, err)
	}
	if found, err = n.ResetCursor(t.Context(), "bucket", slow); err != nil || found.Lost || found.Behind() != 0 {
		t.Errorf("the cursor that was reset is %+v, %v", found, err)
	}
	put(t, n, "last", nil)
	if list, err := changes(slow); err != nil || len(list) != 1 || list[0].Key != "last" {
		t.Errorf("the follower that began anew has %+v, %v", list, err)
	}
	for _, name := range []string{quick, slow} {
		if err := n.CloseCursor(t.Context(), "bucket", name); err != nil {
			t.Fatal(err)
		}
	}
	awaitTrash(t, n, "changes are kept for nobody", func(s *Status) bool { return s.Changes == 0 && s.Cursors == 0 })
	if _, err := n.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
}
