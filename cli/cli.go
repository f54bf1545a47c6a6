// Package cli is the command line of Holdfast: one file for each command.
//
// Promise: every command explains itself with --help, writes what was asked for to standard output and what went wrong to standard error,
// and exits with 0 only if it did what it was asked.
//
// The package does not know how a node is put together or what it serves: it runs the daemon, asks a running one over its socket, and reads the drives of a stopped one.
package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"holdfast/daemon/config"
)

// Main runs the command line and returns the exit status: 0 done, 1 failed, 2 called wrongly, 3 (status only) not fully protected.
func Main(args []string, stdout, stderr io.Writer) int {
	app := &cli.App{
		Name: "holdfast", Usage: "erasure-coded storage that keeps what it acknowledged", Version: config.Version,
		Description: "Start a server on four drives:\n\n    holdfast server /srv/drive{1...4}\n\nand see how well everything is protected:\n\n    holdfast status\n\nExit status: 0 done, 1 failed, 2 called wrongly, 3 (status only) not fully protected.",
		Commands:    []*cli.Command{serverCommand(), statusCommand(), debugCommand(), versionCommand()},
		Writer:      stdout, ErrWriter: stderr, HideHelpCommand: true,
		ExitErrHandler: func(*cli.Context, error) {},
		OnUsageError:   wrongUsage,
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usageError{fmt.Errorf("there is no command %q; see holdfast --help", c.Args().First())}
			}
			return cli.ShowAppHelp(c)
		},
	}
	judgeUsage(app.Commands)
	err := app.Run(args)
	if err == nil {
		return 0
	}
	var exit exitStatus
	if errors.As(err, &exit) {
		return int(exit)
	}
	fmt.Fprintf(stderr, "holdfast: %v\n", err)
	var usage usageError
	if errors.As(err, &usage) {
		return 2
	}
	return 1
}

type usageError struct{ error }

func wrongUsage(_ *cli.Context, err error, _ bool) error { return usageError{err} }

// judgeUsage makes every command answer a wrong flag as the whole does; the library asks each command alone.
func judgeUsage(commands []*cli.Command) {
	for _, c := range commands {
		c.OnUsageError, c.HideHelpCommand = wrongUsage, true
		judgeUsage(c.Subcommands)
	}
}

// exitStatus ends a command that has said everything already.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func versionCommand() *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "print the version",
		Action: func(c *cli.Context) error {
			_, err := fmt.Fprintf(c.App.Writer, "holdfast %s %s\n", config.Version, config.Platform())
			return err
		},
	}
}

// flags returns a flag for every option.
func flags() []cli.Flag {
	list := []cli.Flag{&cli.StringFlag{Name: "config", Usage: "TOML `FILE`; default " + config.DefaultFile + " if it exists"}}
	for _, f := range config.Fields() {
		if !f.List && !f.Secret {
			list = append(list, &cli.StringFlag{Name: f.Flag, Usage: f.Help + " [$" + f.Environment + "]"})
		}
	}
	return list
}

// load makes the configuration of a command.
func load(c *cli.Context, drives []string) (*config.Config, error) {
	given := map[string][]string{}
	for _, f := range config.Fields() {
		if !f.List && !f.Secret && c.IsSet(f.Flag) {
			given[f.Key] = []string{c.String(f.Flag)}
		}
	}
	if len(drives) > 0 {
		given["drives"] = drives
	}
	loaded, err := config.Load(c.String("config"), os.LookupEnv, given)
	if err != nil {
		return nil, usageError{err}
	}
	return loaded, nil
}
