package daemon

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// What a node holds open. An index, a ring and the first segments of a drive are some twenty files; tables of all indexes are at most a thousand, and
// segments that are read from at most 512 of a drive.
const (
	filesLeast        = 128 // beside the drives, to serve some clients at all
	filesOfDriveLeast = 32
	filesAll          = 1000 + 512 // and those that are open as long as one read past the page cache takes: the budget of memory bounds how many
	filesOfDriveAll   = 512 + 48
)

// openFiles is how the limit on open files is shared out.
type openFiles struct {
	limit, wanted int
	connections   int // what S3 may have at a time, so that the drives never lack a file
}

// shareFiles refuses a limit with which the drives could not even be opened: each would look damaged. The runtime has raised the limit to
// the most that the process may have.
func shareFiles(drives int) (f openFiles, err error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return f, fmt.Errorf("the limit on open files: %w", err)
	}
	return share(int(min(limit.Cur, 1<<30)), drives+1) // and the witness
}

func share(limit, drives int) (f openFiles, err error) {
	if least := filesLeast + filesOfDriveLeast*drives; limit < least {
		return f, fmt.Errorf("the process may have %d files open, and %d are the least that this node needs; raise the limit with ulimit -n, or LimitNOFILE= in the unit of systemd", limit, least)
	}
	f = openFiles{limit: limit, wanted: filesAll + filesOfDriveAll*drives}
	f.connections = max(limit-f.wanted, limit/4)
	return f, nil
}
