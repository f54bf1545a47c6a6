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
	if err := Record(path); err != nil {
		t.Fatal(err)
	}
	stepForTest.Enter()
	stepForTest.Leave()
	stepForTest.Enter()
	list, err := ReadRecord(path)
	if err != nil || len(list) != 1 || list[0] != (StepCount{"a step for a test", 2, 1}) {
		t.Errorf("recorded: %v, %v", list, err)
	}
	stepForTest.Leave()
	path = filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(path, []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadRecord(path); err == nil {
		t.Error("a file of another kind was read")
	}
}
