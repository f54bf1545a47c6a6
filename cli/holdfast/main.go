// Command holdfast is the whole of Holdfast: server and command line in one binary.
//
// Promise: its exit status is the one that package cli returns.
//
// It does not know any command.
package main

import (
	"os"

	"holdfast/cli"
)

func main() { os.Exit(cli.Main(os.Args, os.Stdout, os.Stderr)) }
