//go:build !race

package enginetest

// raced says that the race detector is on.
const raced = false
