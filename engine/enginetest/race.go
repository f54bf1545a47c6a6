//go:build race

package enginetest

// raced says that the race detector is on. It keeps several bytes for each byte that is touched, and finds nothing in the hundredth
// MiB that it has not found in the first: cases that are about size alone are smaller then.
const raced = true
