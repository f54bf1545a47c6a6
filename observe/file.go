package observe

import (
	"os"
	"sync"
)

// File is a file that lines are added to, and that may be renamed and then opened anew, as those who rotate logs do. It is safe for concurrent use.
type File struct {
	path   string
	failed func(error)

	mu     sync.Mutex // guards all below
	file   *os.File   // nil once it is closed
	broken bool       // the last write failed, and that was told
	torn   bool       // a write broke off within a line
}

// OpenFile opens a file for adding, and makes it, readable by the owner and the group, where there is none. failed is told of the first of
// consecutive writes that fail; what they had is lost.
func OpenFile(path string, failed func(error)) (*File, error) {
	f := &File{path: path, failed: failed}
	return f, f.Reopen()
}

// Reopen goes on in the file that has the path now. If it cannot be opened, the former one stays.
func (f *File) Reopen() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	file, err := os.OpenFile(f.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	if f.file != nil {
		_ = f.file.Close() // every line was written as it came
	}
	f.file = file
	return nil
}

// Write adds p with one call of the system.
func (f *File) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return 0, os.ErrClosed
	}
	if f.torn {
		p = append([]byte("\n"), p...)
	}
	n, err := f.file.Write(p)
	if f.torn && n > 0 {
		n, f.torn = n-1, false
	}
	f.torn = f.torn || err != nil && n > 0
	if err != nil && !f.broken {
		f.failed(err)
	}
	f.broken = err != nil
	return n, err
}

// Close ends it; what is written afterwards is lost.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return err
}
