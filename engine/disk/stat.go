package disk

import (
	"io/fs"
	"syscall"
)

// sysStat returns what the operating system said about a file.
func sysStat(info fs.FileInfo) (*syscall.Stat_t, bool) {
	s, ok := info.Sys().(*syscall.Stat_t)
	return s, ok
}
