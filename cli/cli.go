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
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"holdfast/daemon/config"
	"holdfast/engine"
)

// Main runs the command line and returns the exit status: 0 done, 1 failed, 2 called wrongly, 3 (status and drive list only) not fully protected.
func Main(args []string, stdout, stderr io.Writer) int {
	app := &cli.App{
		Name: "holdfast", Usage: "erasure-coded storage that keeps what it acknowledged", Version: config.Version,
		Description: "Start a server on four drives:\n\n    holdfast server /srv/drive{1...4}\n\nand see how well everything is protected:\n\n    holdfast status\n\nholdfast help COMMAND explains a command.\n\nExit status: 0 done, 1 failed, 2 called wrongly, 3 (status and drive list only) not fully protected.",
		Commands:    []*cli.Command{serverCommand(), statusCommand(), driveCommand(), scrubCommand(), benchCommand(), debugCommand(), versionCommand()},
		Writer:      stdout, ErrWriter: stderr, HideHelpCommand: true,
		ExitErrHandler: func(*cli.Context, error) {},
		OnUsageError:   wrongUsage,
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return noCommand(c)
			}
			return cli.ShowAppHelp(c)
		},
	}
	judgeUsage(app.Commands)
	if len(args) > 1 && args[1] == "help" {
		args = append(append([]string{args[0]}, args[2:]...), "--help")
	}
	err := app.Run(flagsFirst(args))
	if err == nil {
		return 0
	}
	var exit exitStatus
	if errors.As(err, &exit) {
		return int(exit)
	}
	fmt.Fprintf(stderr, "holdfast: %s\n", engine.Plain(err))
	var usage usageError
	if errors.As(err, &usage) {
		return 2
	}
	return 1
}

type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// wrongUsage says of a flag that the library does not take what is wrong, in our words: it hides which of its errors it is.
func wrongUsage(c *cli.Context, err error, _ bool) error {
	command := "holdfast"
	flags := c.App.VisibleFlags()
	if c.Command != nil && c.Command.HelpName != "" {
		command, flags = c.Command.HelpName, c.Command.Flags
	}
	text := err.Error()
	if flag, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return usageError{fmt.Errorf("--%s needs a value; see %s --help", strings.TrimLeft(flag, "-"), command)}
	}
	flag, ok := strings.CutPrefix(text, "flag provided but not defined: -")
	if !ok {
		return usageError{fmt.Errorf("%w; see %s --help", err, command)}
	}
	var known []string
	for _, f := range flags {
		known = append(known, f.Names()[0])
	}
	text = fmt.Sprintf("%s has no flag --%s", called(command), strings.TrimLeft(flag, "-"))
	if nearest := config.Nearest(strings.TrimLeft(flag, "-"), known); nearest != "" {
		text += "; the nearest is --" + nearest
	}
	return usageError{fmt.Errorf("%s; see %s --help", text, command)}
}

// noCommand refuses the first argument, which is no command here.
func noCommand(c *cli.Context) error {
	command, word := "holdfast", c.Args().First()
	commands := c.App.Commands
	if len(c.Lineage()) > 2 { // below a command
		command, commands = c.Command.HelpName, c.Command.Subcommands
	}
	var known []string
	for _, k := range commands {
		known = append(known, k.Name)
	}
	nearest := ""
	if n := config.Nearest(word, known); n != "" {
		nearest = "; the nearest is " + n
	}
	return usageError{fmt.Errorf("there is no command %s%s; see %s --help", called(command+" "+word), nearest, command)}
}

// called is the name of a command in a message, which begins with that of the program.
func called(command string) string { return strings.TrimPrefix(command, "holdfast ") }

// noArguments refuses arguments of a command that takes none.
func noArguments(c *cli.Context) error {
	if !c.Args().Present() {
		return nil
	}
	return usageError{fmt.Errorf("%s takes no argument %s; see %s --help", called(c.Command.HelpName), c.Args().First(), c.Command.HelpName)}
}

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
			if err := noArguments(c); err != nil {
				return err
			}
			_, err := fmt.Fprintf(c.App.Writer, "holdfast %s %s\n", config.Version, config.Platform())
			return err
		},
	}
}

// flags returns a flag for every option, or for those that are named.
func flags(keys ...string) []cli.Flag {
	list := []cli.Flag{&cli.StringFlag{Name: "config", Usage: "settings, a `FILE` in TOML; default " + config.DefaultFile + " if it exists"}}
	for _, f := range config.Fields() {
		if !f.List && !f.Secret && (len(keys) == 0 || slices.Contains(keys, f.Key)) {
			list = append(list, &cli.StringFlag{Name: f.Flag, Usage: f.Help + " [$" + f.Environment + "]"})
		}
	}
	return list
}

// load makes the configuration of a command.
func load(c *cli.Context, drives []string) (*config.Config, error) {
	if err := config.CheckEnvironment(os.Environ()); err != nil {
		return nil, usageError{err}
	}
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
