package observe

import (
	"os"
	"path/filepath"
	"testing"
)

var stepForTest = NewStep("a step for a test")

func TestRecorder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "steps")
	stepForTest.Enter() // before recording: counted nowhere
	closer, err := Record(path)
	if err != nil {
		t.Fatal(err)
	}
	stepForTest.Enter()
	stepForTest.Leave()
	stepForTest.Enter()
	list, err := ReadRecord(path)
	if err != nil || len(list) != 1 || list[0] != (StepCount{"a step for a test", 2, 1}) {
		t.Errorf("recorded: %v, %v", list, err)
	}
	if err := closer(); err != nil {
		t.Fatal(err)
	}
	stepForTest.Leave()
	if err := os.WriteFile(path, []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadRecord(path); err == nil {
		t.Error("a file of another kind was read")
	}
}
