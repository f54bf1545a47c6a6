package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/engine"
)

// TestExamine wants that folders are refused in words that say what to do, and that nothing was written.
func TestExamine(t *testing.T) {
	dir := t.TempDir()
	full, empty, absent := filepath.Join(dir, "full"), filepath.Join(dir, "empty"), filepath.Join(dir, "absent")
	for _, d := range []string{full, empty, filepath.Join(full, "music")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		drives   []string
		standard engine.Redundancy
		want     string
	}{
		{[]string{empty, absent}, engine.Redundancy{}, "create it or mount it"},
		{[]string{empty, full}, engine.Redundancy{}, "name an empty folder"},
		{[]string{empty, empty}, engine.Redundancy{}, "named twice"},
		{[]string{empty}, engine.Redundancy{Data: 2, Parity: 2}, "is not possible with the drives that there are, 1"},
		{[]string{empty}, engine.Redundancy{}, ""},
	} {
		err := Examine(Config{State: filepath.Join(dir, "state"), Drives: c.drives, Standard: c.standard})
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || strings.Contains(engine.Plain(err), "invalid argument")) {
			t.Errorf("%v: %v; want %q", c.drives, err, c.want)
		}
		if err != nil && strings.Count(err.Error(), absent) > 1 {
			t.Errorf("the path is named more than once: %v", err)
		}
	}
	for d, want := range map[string]int{empty: 0, dir: 2} {
		if names, err := os.ReadDir(d); err != nil || len(names) != want {
			t.Errorf("%s: %v, %v", d, names, err)
		}
	}
}
