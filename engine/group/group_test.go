package group_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"holdfast/engine"
	"holdfast/engine/group"
	"holdfast/engine/group/grouptest"
	"holdfast/engine/meta"
)

// cluster is a group of n replicas on drives in memory.
type cluster struct {
	t      testing.TB
	drives []*grouptest.Drive
	hosts  []group.Host
	group  *group.Group
	number uint64
}

func newCluster(t testing.TB, n int) *cluster {
	c := &cluster{t: t}
	var members []group.Member
	for i := 1; i <= n; i++ {
		c.addDrive()
		members = append(members, group.Member{Replica: uint64(i), Drive: engine.DriveID(i)})
	}
	if err := group.Bootstrap(context.Background(), 1, members, c.hosts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	c.start()
	return c
}

func (c *cluster) addDrive() group.Host {
	d := grouptest.New()
	c.drives = append(c.drives, d)
	h := group.Host{Drive: engine.DriveID(len(c.drives)), Log: d, Stores: d}
	c.hosts = append(c.hosts, h)
	return h
}

func (c *cluster) start() {
	c.t.Helper()
	g, err := group.Start(context.Background(), group.Config{Group: 1, Hosts: c.hosts, Machine: grouptest.Counter{}})
	if err != nil {
		c.t.Fatal(err)
	}
	c.group = g
}

func (c *cluster) close() {
	c.group.Close()
	for _, d := range c.drives {
		d.Close()
	}
}

// crash cuts the power of all drives and starts again.
func (c *cluster) crash() {
	c.t.Helper()
	for i, d := range c.drives {
		c.drives[i] = d.Crash(func(n int) int { return n * i / len(c.drives) })
	}
	for i := range c.hosts {
		d := c.drives[c.hosts[i].Drive-1]
		c.hosts[i].Log, c.hosts[i].Stores = d, d
	}
	c.group.Close()
	c.start()
}

func (c *cluster) command(text string) []byte {
	c.number++
	return command(1, c.number, text)
}

func command(epoch, number uint64, text string) []byte {
	b := binary.BigEndian.AppendUint64(nil, epoch)
	b = binary.BigEndian.AppendUint64(b, number)
	return append(append(b, make([]byte, 8)...), text...)
}

func (c *cluster) propose(text string) uint64 {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	answer, _, err := c.group.Propose(ctx, c.command(text))
	if err != nil {
		c.t.Fatal(err)
	}
	return binary.BigEndian.Uint64(answer)
}

func (c *cluster) expect(text string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	v, err := c.group.Read(ctx)
	if err != nil {
		c.t.Fatalf("%v\n%s", err, c.group.Dump())
	}
	defer v.Close()
	got, _, err := v.Get([]byte("v"))
	if err != nil || string(got) != text {
		c.t.Fatalf("read %q, %v, want %q", got, err, text)
	}
	if err := v.Confirm(); err != nil {
		c.t.Fatal(err)
	}
	got, _, err = c.group.Get(ctx, []byte("v"))
	if err != nil || string(got) != text {
		c.t.Fatalf("get %q, %v, want %q", got, err, text)
	}
}

func (c *cluster) status() group.Status {
	c.t.Helper()
	s, err := c.group.Status(context.Background())
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

// await waits until a state of the group is reached.
func (c *cluster) await(what string, reached func(group.Status) bool) {
	c.t.Helper()
	for start := time.Now(); time.Since(start) < 10*time.Second; {
		if reached(c.status()) {
			return
		}
	}
	c.t.Fatalf("%s did not happen: %+v", what, c.status())
}

func TestProposeReadRecover(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			c := newCluster(t, n)
			for i := 1; i <= 30; i++ {
				text := fmt.Sprint("value ", i)
				if place := c.propose(text); place != uint64(i) {
					t.Fatalf("command %d came to place %d", i, place)
				}
				c.expect(text)
				if i%10 == 0 {
					c.drives[i%n].Flush(context.Background())
				}
				if i%7 == 0 {
					c.crash()
					c.expect(text)
				}
			}
		})
	}
}

func TestRepetitionActsOnce(t *testing.T) {
	c := newCluster(t, 3)
	for range 3 {
		answer, _, err := c.group.Propose(context.Background(), command(1, 7, "x"))
		if err != nil || binary.BigEndian.Uint64(answer) != 1 {
			t.Fatal(answer, err)
		}
	}
}

func TestConcurrentProposals(t *testing.T) {
	c := newCluster(t, 5)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for j := range 20 {
				if _, _, err := c.group.Propose(context.Background(), command(2, uint64(i*100+j), "text")); err != nil {
					t.Error(err)
				}
				if v, err := c.group.Read(context.Background()); err != nil {
					t.Error(err)
				} else {
					v.Close()
				}
			}
		})
	}
	wg.Wait()
	if place := c.propose("last"); place != 1001 {
		t.Fatalf("%d commands were applied, want 1001", place)
	}
	c.await("takeover of rows", func(s group.Status) bool { return s.Counts.Applied >= 5*1001 })
	if s := c.status(); s.Counts.TakenOver < s.Counts.Applied/2 {
		t.Fatalf("replicas computed for themselves: %+v", s.Counts)
	}
}

func TestLeaderDriveFails(t *testing.T) {
	c := newCluster(t, 5)
	for i := range 2 {
		c.propose(fmt.Sprint(i))
		leader := c.status().Leader
		c.drives[leader-1].Fail()
		c.propose("after")
		c.expect("after")
		if s := c.status(); s.Leader == leader || s.Members[leader-1].Failed == nil {
			t.Fatalf("status after a failure: %+v", s)
		}
	}
	if s := c.status(); s.Missing != "" {
		t.Fatal(s.Missing)
	}
	c.drives[c.status().Leader-1].Fail()
	start := time.Now()
	_, _, err := c.group.Propose(context.Background(), c.command("lost"))
	if !engine.Is(err, engine.KindUnavailable) || time.Since(start) > 2*time.Second {
		t.Fatalf("%v after %v", err, time.Since(start))
	}
	t.Log(err)
	if _, err := c.group.Read(context.Background()); !engine.Is(err, engine.KindUnavailable) {
		t.Fatal(err)
	}
}

// TestReadsOfAFailedLeader reads from a group at rest whose leader's drive has failed, of which nobody has told the group.
func TestReadsOfAFailedLeader(t *testing.T) {
	c := newCluster(t, 5)
	c.propose("x")
	for i := range 2 {
		leader := c.status().Leader
		c.drives[leader-1].Fail()
		if i == 0 {
			if v, ok, err := c.group.Get(t.Context(), []byte("v")); err != nil || !ok || string(v) != "x" {
				t.Fatalf("%q, %v, %v", v, ok, err)
			}
		}
		c.expect("x")
		if s := c.status(); s.Leader == leader || s.Members[leader-1].Failed == nil {
			t.Fatalf("status after a read: %+v", s)
		}
	}
	c.drives[c.status().Leader-1].Fail()
	if _, _, err := c.group.Get(t.Context(), []byte("v")); !engine.Is(err, engine.KindUnavailable) {
		t.Fatal(err)
	}
}

func TestLeaderDriveHangs(t *testing.T) {
	c := newCluster(t, 3)
	c.propose("before")
	leader := c.status().Leader
	c.drives[leader-1].Hold(true)
	c.propose("after")
	c.expect("after")
	c.await("another leader", func(s group.Status) bool { return s.Leader != leader && s.Leader != 0 })
	c.propose("more")
	c.expect("more")
	c.drives[leader-1].Hold(false)
	c.await("catching up", func(s group.Status) bool { return s.Members[leader-1].Applied == s.Commit })
}

func TestHangingMajority(t *testing.T) {
	c := newCluster(t, 3)
	c.propose("before")
	c.drives[0].Hold(true)
	c.drives[1].Hold(true)
	start := time.Now()
	_, _, err := c.group.Propose(context.Background(), c.command("stuck"))
	if !engine.Is(err, engine.KindUnavailable) || time.Since(start) > 2*time.Second {
		t.Fatalf("%v after %v", err, time.Since(start))
	}
	t.Log(err)
	c.drives[0].Hold(false)
	c.drives[1].Hold(false)
	c.propose("again")
	c.expect("again")
}

// TestCanceledProposal: a command whose caller gave up before the call never takes effect; one whose caller gives up midway says that, too.
func TestCanceledProposal(t *testing.T) {
	c := newCluster(t, 1)
	c.propose("before")
	ended, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("gone"))
	for range 1000 {
		if _, _, err := c.group.Propose(ended, c.command("x")); !engine.Is(err, engine.KindCanceled) {
			t.Fatal(err)
		}
	}
	c.expect("before")
	c.drives[0].Hold(true)
	midway, cancel := context.WithCancelCause(context.Background())
	time.AfterFunc(10*time.Millisecond, func() { cancel(errors.New("gone")) })
	if _, _, err := c.group.Propose(midway, c.command("x")); !engine.Is(err, engine.KindCanceled) {
		t.Fatal(err)
	}
	c.drives[0].Hold(false)
}

func TestLogIsReleased(t *testing.T) {
	c := newCluster(t, 3)
	for i := range 50 {
		c.propose(fmt.Sprint(i))
	}
	for _, d := range c.drives {
		for d.Records(1) > 0 {
			d.Flush(context.Background())
		}
	}
	c.crash()
	c.expect("49")
	c.propose("50")
	c.expect("50")
}

func TestReplaceReplica(t *testing.T) {
	c := newCluster(t, 3)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	next := uint64(4)
	for round := range 4 {
		for i := range 20 {
			c.propose(fmt.Sprint(round, i))
		}
		for _, d := range c.drives {
			d.Flush(ctx)
		}
		s := c.status()
		victim := s.Members[round%len(s.Members)]
		c.drives[victim.Drive-1].Fail()
		host := c.addDrive()
		if err := c.group.AddReplica(ctx, group.Member{Replica: next}, host); err != nil {
			t.Fatalf("%v\n%s", err, c.group.Dump())
		}
		next++
		if err := c.group.RemoveReplica(ctx, victim.Replica); err != nil {
			t.Fatal(err)
		}
		c.expect(fmt.Sprint(round, 19))
		s = c.status()
		if len(s.Members) != 3 || s.Missing != "" || s.Counts.Snapshots == 0 {
			t.Fatalf("after the replacement: %+v", s)
		}
	}
	// Those that failed are gone for good; the new ones carry the group over a crash.
	var hosts []group.Host
	for _, m := range c.status().Members {
		hosts = append(hosts, c.hosts[m.Drive-1])
	}
	c.hosts = hosts
	c.crash()
	c.expect("3 19")
	c.propose("end")
}

// TestReplayBeforeGivingUp starts a group from its logs alone, with those drives that have a majority only after the last change of its members: who asks
// at once is not told that there is none.
func TestReplayBeforeGivingUp(t *testing.T) {
	c := newCluster(t, 5)
	c.propose("before")
	ctx := context.Background()
	if err := c.group.RemoveReplica(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if err := c.group.AddReplica(ctx, group.Member{Replica: 9, Drive: 6}, c.addDrive()); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		c.propose(fmt.Sprint(i))
	}
	for i, d := range c.drives {
		c.drives[i] = d.Crash(func(int) int { return 0 })
	}
	c.group.Close()
	c.hosts = []group.Host{c.hosts[5], c.hosts[1], c.hosts[2]}
	for i := range c.hosts {
		d := c.drives[c.hosts[i].Drive-1]
		c.hosts[i].Log, c.hosts[i].Stores = d, d
	}
	c.start()
	c.expect("199")
	c.propose("after")
	c.expect("after")
}

func TestTransferLeader(t *testing.T) {
	c := newCluster(t, 3)
	c.propose("before")
	for range 6 {
		old := c.status().Leader
		if err := c.group.TransferLeader(context.Background(), 0); err != nil {
			t.Fatal(err)
		}
		if s := c.status(); s.Leader == old {
			t.Fatal("the leader is the same")
		}
		c.expect("before")
	}
	to := c.status().Leader%3 + 1
	c.drives[to-1].Hold(true)
	c.propose("x")
	if err := c.group.TransferLeader(context.Background(), to); err == nil {
		t.Fatal("a replica took over whose drive hangs")
	}
	c.propose("y")
	c.expect("y")
	c.drives[to-1].Hold(false)
}

func TestRemoveLeaderAndReuseDrive(t *testing.T) {
	c := newCluster(t, 5)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c.propose("one")
	leader := c.status().Leader
	if err := c.group.RemoveReplica(ctx, leader); err != nil {
		t.Fatal(err)
	}
	c.propose("two")
	if err := c.group.AddReplica(ctx, group.Member{Replica: 9}, c.hosts[leader-1]); err != nil {
		t.Fatal(err)
	}
	c.expect("two")
	c.crash()
	c.expect("two")
	if err := c.group.AddReplica(ctx, group.Member{Replica: 9}, c.hosts[0]); !engine.Is(err, engine.KindInvalidArgument) {
		t.Fatal(err)
	}
}

func BenchmarkPropose5(b *testing.B) {
	c := newCluster(b, 5)
	b.ReportAllocs()
	var number uint64
	var mu sync.Mutex
	text := string(make([]byte, 300))
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			mu.Lock()
			number++
			n := number
			mu.Unlock()
			if _, _, err := c.group.Propose(context.Background(), command(3, n, text)); err != nil {
				b.Error(err)
			}
			if n%4096 == 0 {
				for _, d := range c.drives {
					d.Flush(context.Background())
				}
			}
		}
	})
}

func BenchmarkGet(b *testing.B) {
	c := newCluster(b, 3)
	c.propose("x")
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := c.group.Get(context.Background(), []byte("v")); err != nil {
			b.Fatal(err)
		}
	}
}

// A drive may hold rows of a generation that was received and never became valid. A replica made there later must not find them, even if the
// process dies before the next flush.
func TestEmptyReplicaForgetsRowsOfAnUnfinishedReceiver(t *testing.T) {
	c := newCluster(t, 3)
	c.propose("before")
	host := c.addDrive()
	var rows meta.Batch
	rows.Set([]byte{0, 'a'}, group.AppliedRow(19, 2))
	if err := host.Stores.Store(group.StorePrefix(1, 1)).Commit(&rows); err != nil {
		t.Fatal(err)
	}
	if err := host.Log.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	d := c.drives[3]
	d.Hold(true) // the record that makes the generation valid stays on its way
	added := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { added <- c.group.AddReplica(ctx, group.Member{Replica: 9}, host) }()
	for d.Pending() == 0 {
		runtime.Gosched()
	}
	_, found, err := host.Stores.Store(group.StorePrefix(1, 1)).Durable([]byte{0, 'a'})
	d.Hold(false)
	cancel()
	<-added
	if err != nil || found {
		t.Fatalf("rows that never were valid outlive a crash (%v)", err)
	}
}
