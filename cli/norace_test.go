//go:build !race

package cli

// indexReadable says that debug index can be called.
const indexReadable = true
