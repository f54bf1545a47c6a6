package metrics

import "github.com/prometheus/procfs"

// What the kernel counts of the process's calls, see proc_pid_io(5).
var (
	ioRead       = &Metric{Name: "holdfast_process_read_bytes_total", Kind: Counter, Help: "Bytes that the process has read from storage devices"}
	ioWritten    = &Metric{Name: "holdfast_process_written_bytes_total", Kind: Counter, Help: "Bytes that the process has written to storage devices"}
	ioReadAny    = &Metric{Name: "holdfast_process_read_call_bytes_total", Kind: Counter, Help: "Bytes that calls of the process have read, from anywhere"}
	ioWrittenAny = &Metric{Name: "holdfast_process_write_call_bytes_total", Kind: Counter, Help: "Bytes that calls of the process have written, to anywhere"}
	ioReads      = &Metric{Name: "holdfast_process_read_calls_total", Kind: Counter, Help: "Calls by which the process has read"}
	ioWrites     = &Metric{Name: "holdfast_process_write_calls_total", Kind: Counter, Help: "Calls by which the process has written"}

	processMetrics = []*Metric{ioRead, ioWritten, ioReadAny, ioWrittenAny, ioReads, ioWrites}
)

// readProcess emits nothing where the kernel does not count, or does not tell.
func readProcess(emit Emit) {
	self, err := procfs.Self()
	if err != nil {
		return
	}
	io, err := self.IO()
	if err != nil {
		return
	}
	emit(ioRead, float64(io.ReadBytes))
	emit(ioWritten, float64(io.WriteBytes))
	emit(ioReadAny, float64(io.RChar))
	emit(ioWrittenAny, float64(io.WChar))
	emit(ioReads, float64(io.SyscR))
	emit(ioWrites, float64(io.SyscW))
}
