// Command holdfast is the whole of Holdfast: server and command line in one binary.
package main

import (
	"os"

	"holdfast/cli"
)

func main() { os.Exit(cli.Main(os.Args, os.Stdout, os.Stderr)) }
