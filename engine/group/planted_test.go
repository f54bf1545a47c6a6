//go:build planted

package group

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// planted are bugs that the simulations must find: in a copy of a file, old becomes new, and the unchanged test fails.
var planted = []struct{ name, file, old, new, test string }{
	{
		"lease kept over a pause", "lease.go",
		"return l != nil && now < l.until", "return l != nil", "TestSimThreeProcesses",
	}, {
		"lease from the answer, not from the sending", "lease.go",
		"b.rounds[i].sent+c.options.lease()", "c.now.boot+4*c.options.lease()", "TestSimThreeProcesses",
	}, {
		"votes in spite of a promise", "core.go",
		"		if c.promised(p, m, local) {\n", "		if false && c.promised(p, m, local) {\n", "TestPromise",
	}, {
		"read before the first entry of the term", "lease.go",
		" || p.applied.term != b.term", "", "TestSim",
	}, {
		"log freed past the durable index", "replica.go",
		"r.last > d.applied", "r.last > p.applied.index", "TestSim",
	}, {
		"acknowledged before the sync", "core.go",
		"	if len(job.records) == 0 {\n		job.done = true\n", "	job.done = true\n	c.finishAppends(p)\n	if len(job.records) == 0 {\n", "TestSimOneProcess",
	}, {
		"answer before the leader has applied", "govern.go",
		"if p != nil && p.applied.index < q.index {", "if p == nil && q.index == 0 {", "TestSimOneProcess",
	}, {
		"entries after a snapshot belong to the old rows", "replica.go",
		"if p.install != nil && p.install.accepted {\n		return", "if false {\n		return", "TestSim",
	}, {
		"decided change of members not noted", "govern.go",
		"		c.noteCommit(p)\n", "", "TestSimOneProcess",
	}, {
		"member gone before the others know it", "member.go",
		"	if !c.changeNoted(leader) {\n		return\n	}\n", "", "TestSimOneProcess",
	}, {
		"snapshot valid before its record is durable", "core.go",
		"		p.install.accepted = true\n", "		p.install.accepted = true\n		c.out.resets = append(c.out.resets, resetEffect{replica: p.id, drive: p.drive, generation: p.generation, drop: p.generation})\n", "TestSim",
	},
}

func TestPlantedBugsAreFound(t *testing.T) {
	if testing.Short() || os.Getenv("GROUP_PLANTED") != "" {
		t.Skip("each bug is built and run apart")
	}
	for _, bug := range planted {
		t.Run(bug.name, func(t *testing.T) {
			t.Parallel()
			overlay := plant(t, bug.file, bug.old, bug.new)
			cmd := exec.Command("go", "test", "-overlay", overlay, "-run", bug.test, "-timeout", "4m", ".")
			cmd.Env = append(os.Environ(), "GROUP_PLANTED=1", "GROUP_RUNS=150")
			out, err := cmd.CombinedOutput()
			if strings.Contains(string(out), "[build failed]") || strings.Contains(string(out), "[setup failed]") {
				t.Fatalf("the bug does not build:\n%s", out)
			}
			if err == nil {
				t.Fatalf("the bug is not found:\n%s", out)
			}
			t.Log(firstFailure(string(out)))
		})
	}
}

// plant writes a changed copy of a file and the overlay that puts it in place.
func plant(t *testing.T, file, old, replacement string) (overlay string) {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), old); n != 1 {
		t.Fatalf("%s has the place of the bug %d times, not once", file, n)
	}
	folder := t.TempDir()
	changed := filepath.Join(folder, file)
	if err := os.WriteFile(changed, []byte(strings.Replace(string(source), old, replacement, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	real, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(map[string]map[string]string{"Replace": {real: changed}})
	if err != nil {
		t.Fatal(err)
	}
	overlay = filepath.Join(folder, "overlay.json")
	if err := os.WriteFile(overlay, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return overlay
}

func firstFailure(out string) string {
	for _, line := range strings.Split(out, "\n") {
		if strings.Contains(line, "_test.go:") || strings.HasPrefix(line, "panic:") {
			return strings.TrimSpace(line[:min(len(line), 300)])
		}
	}
	return out[:min(len(out), 300)]
}
