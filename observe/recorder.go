package observe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Step is a named stage of the daemon's work. Its two counters say how often it was entered and left; while they differ, it is under way.
type Step struct {
	name  string
	cells atomic.Pointer[cells]
}

// cells are in the memory of the process, or in that of a recorder's file.
type cells struct{ entered, left atomic.Uint64 }

// The recorder's file: "HFSTEPS1", then for each step a name of nameBytes, padded with zeros, and two counters of 8 bytes in the order of
// the machine.
const (
	recorderMagic = "HFSTEPS1"
	nameBytes     = 80
	stepBytes     = nameBytes + 16
	stepsMax      = 84
	recorderBytes = 8192
)

var steps struct {
	sync.Mutex
	all []*Step
}

// NewStep names a step. It is called where packages are initialised: at most 84 steps, whose names differ and have at most 80 bytes.
func NewStep(name string) *Step {
	steps.Lock()
	defer steps.Unlock()
	if len(steps.all) == stepsMax || len(name) > nameBytes {
		panic("observe: no room for step " + name)
	}
	s := &Step{name: name}
	s.cells.Store(new(cells))
	steps.all = append(steps.all, s)
	return s
}

// Enter says that the step begins; Leave must follow: defer step.Enter().Leave().
func (s *Step) Enter() *Step {
	s.cells.Load().entered.Add(1)
	return s
}

// Leave says that the step ended.
func (s *Step) Leave() { s.cells.Load().left.Add(1) }

// StepCount is what a recorder has of a step.
type StepCount struct {
	Name          string
	Entered, Left uint64
}

// Record keeps the counters of all steps in a file from now on, mapped into memory: it outlives the process, however that ends, though not
// the machine. It is called before work begins, since what is under way is not carried over. The file stays mapped as long as the process lives: a
// call that a drive holds up may come back at any time.
func Record(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	// With room of its own: a page of a hole for which the disk has none would end the process when it is written to.
	if err := unix.Fallocate(int(f.Fd()), 0, 0, recorderBytes); err != nil {
		return fmt.Errorf("make room for %s: %w", path, err)
	}
	if err := f.Truncate(recorderBytes); err != nil {
		return err
	}
	b, err := unix.Mmap(int(f.Fd()), 0, recorderBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map %s: %w", path, err)
	}
	steps.Lock()
	defer steps.Unlock()
	clear(b)
	copy(b, recorderMagic)
	for i, s := range steps.all {
		at := stepBytes * (i + 1)
		copy(b[at:at+nameBytes], s.name)
		s.cells.Store((*cells)(unsafe.Pointer(&b[at+nameBytes])))
	}
	return nil
}

// ReadRecord reads what a recorder left. A step that was entered more often than left was under way when the process ended.
func ReadRecord(path string) (list []StepCount, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(b) != recorderBytes || string(b[:len(recorderMagic)]) != recorderMagic {
		return nil, errors.New(path + " is not the record of a daemon's steps, or one of another version")
	}
	for at := stepBytes; at < len(b) && b[at] != 0; at += stepBytes {
		name := b[at : at+nameBytes]
		for len(name) > 0 && name[len(name)-1] == 0 {
			name = name[:len(name)-1]
		}
		list = append(list, StepCount{
			Name:    string(name),
			Entered: binary.NativeEndian.Uint64(b[at+nameBytes:]), Left: binary.NativeEndian.Uint64(b[at+nameBytes+8:]),
		})
	}
	return list, nil
}
