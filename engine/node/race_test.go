//go:build race

package node

// raced says that the race detector is on: cases that are about number alone are smaller then.
const raced = true
