package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"holdfast/daemon"
	"holdfast/daemon/config"
)

// driveWait is how long a change of drives is waited for: a folder is formatted, and groups get replicas.
const driveWait = 10 * time.Minute

func driveCommand() *cli.Command {
	local := func(more ...cli.Flag) []cli.Flag { return append(more, flags("state", "socket")...) }
	cancel := func(usage string) cli.Flag { return &cli.BoolFlag{Name: "cancel", Usage: usage} }
	return &cli.Command{
		Name: "drive", Usage: "list the drives, add one, take one away, or replace one, while the daemon runs",
		Description: "    holdfast drive list\n    holdfast drive add /srv/drive5\n    holdfast drive remove 3\n    holdfast drive replace 3 /srv/drive6\n\n" +
			"Each change is durable when the command returns, and the daemon goes on with it after a restart, or a crash. Later starts know of it,\n" +
			"whatever drives they name: those that were added need not be named, and those that were removed may be.",
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "show every drive: number, state, room, shards, and the replicas on it",
				Description: "A drive is in; out, and why; joining, until it takes part; or leaving, with what is left to move. Exits with 3 as holdfast status does, which says more.",
				Flags:       local(&cli.BoolFlag{Name: "json", Usage: "print all of it as JSON"}), Action: driveList,
			},
			{
				Name: "add", Usage: "make empty folders drives", ArgsUsage: "PATH…",
				Description: "A folder must exist, be empty, and be a mount point where all other drives are; {5...8} stands for 5, 6, 7, 8. It takes shards at once. The redundancy of new writes\n" +
					"follows the number of drives, unless --standard fixes it; what is stored keeps its own.",
				Flags: local(), Action: driveAdd,
			},
			{
				Name: "remove", Usage: "move everything off a drive, so that it can be taken away", ArgsUsage: "NUMBER",
				Description: "The drive takes no shards any more. Its shards move to the other drives, at --move-rate of the daemon at most, and its replicas; of a drive that is out they are made again.\n" +
					"When nothing is left on it the node has the drive no more, and its folder may be taken away; holdfast drive list shows how far that is. It is refused if too few drives would stay.",
				Flags: local(cancel("let the drive stay; what has moved stays where it is")), Action: driveRemove,
			},
			{
				Name: "replace", Usage: "give the place of a drive to an empty folder", ArgsUsage: "NUMBER PATH",
				Description: "Adds the folder as add does, and removes the drive as remove does; what the drive has goes to the new one first. Where the folder of a drive that is out has become empty, the daemon\n" +
					"takes it in by itself, and no command is needed.",
				Flags: local(cancel("let the drive stay; the new one stays, too, and remove takes it away")), Action: driveReplace,
			},
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return noCommand(c)
			}
			return cli.ShowSubcommandHelp(c)
		},
	}
}

// flagsFirst puts the flags of a drive command in front of its arguments, where the library looks for them: holdfast drive remove 3 --cancel.
func flagsFirst(args []string) []string {
	if len(args) < 4 || args[1] != "drive" {
		return args
	}
	given, rest := slices.Clone(args[:3]), []string{"--"}
	for i := 3; i < len(args); i++ {
		name, isFlag := strings.CutPrefix(args[i], "-")
		name = strings.TrimPrefix(name, "-")
		switch {
		case args[i] == "--":
			rest = append(rest, args[i+1:]...)
			i = len(args)
		case !isFlag || name == "":
			rest = append(rest, args[i])
		default:
			given = append(given, args[i])
			if !slices.Contains([]string{"config", "state", "socket"}, name) {
				continue
			}
			if i++; i == len(args) {
				return args // without its value, as the library says
			}
			given = append(given, args[i])
		}
	}
	return append(given, rest...)
}

func driveList(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	_, status, err := askStatus(c)
	if err != nil {
		return err
	}
	causes := causes(status)
	if c.Bool("json") {
		encoder := json.NewEncoder(c.App.Writer)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(status.Drives)
	} else {
		err = printDrives(c.App.Writer, status)
	}
	if err != nil || len(causes) == 0 {
		return err
	}
	fmt.Fprintf(c.App.ErrWriter, "holdfast: not fully protected: %s\n", strings.Join(causes, "; "))
	return exitStatus(3)
}

// printDrives writes a line for each drive, and what is left to move.
func printDrives(w io.Writer, s *daemon.Status) error {
	fmt.Fprintf(w, "%-6s %-8s %-8s %10s %10s %8s %-8s  %s\n", "drive", "role", "state", "capacity", "used", "shards", "groups", "path")
	for _, d := range s.Drives {
		var groups []string
		for _, g := range d.Replicas {
			groups = append(groups, fmt.Sprint(g))
		}
		line := fmt.Sprintf("%-6d %-8s %-8s %10s %10s %8d %-8s  %s %s", d.Drive, roleText(&d), d.State, bytesText(d.Total), bytesText(d.Used), d.Shards, strings.Join(groups, " "), d.Path, d.Problem)
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
	if s.Unknown != "" {
		fmt.Fprintf(w, "shards cannot be counted: %s\n", s.Unknown)
	}
	printLeaving(w, s.Drives)
	_, err := fmt.Fprintf(w, "redundancy of new writes %s\n", s.Redundancy)
	return err
}

func roleText(d *daemon.DriveStatus) string {
	if d.Witness {
		return "witness"
	}
	return "data"
}

// printLeaving says of drives that leave what is left to do.
func printLeaving(w io.Writer, drives []daemon.DriveStatus) {
	for _, d := range drives {
		if d.Leaving == nil {
			continue
		}
		how, heir := "move", ""
		if d.State == "out" {
			how = "be made again"
		}
		if d.Leaving.Heir != 0 {
			heir = fmt.Sprintf(", and drive %d takes its place", d.Leaving.Heir)
		}
		left := fmt.Sprintf("%s of %s are to %s", count(d.Leaving.Shards, "shard", "shards"), bytesText(d.Leaving.Bytes), how)
		switch {
		case d.Leaving.Shards == 0 && len(d.Replicas) > 0:
			left = "its replicas are to move"
		case d.Leaving.Shards == 0:
			left = "what was deleted is still to be collected"
		case d.Leaving.Shards == 1:
			left = strings.Replace(left, " are to ", " is to ", 1)
		}
		fmt.Fprintf(w, "drive %d leaves%s: %s\n", d.Drive, heir, left)
	}
}

func driveAdd(c *cli.Context) error {
	folders, err := config.Folders(c.Args().Slice())
	if err != nil {
		return usageError{err}
	}
	if len(folders) == 0 {
		return usageError{errors.New("no folder is named; write for example: holdfast drive add /srv/drive5")}
	}
	for _, folder := range folders {
		change, err := changeDrives(c, "/drives/add", url.Values{"path": {folder}})
		if err != nil {
			return err
		}
		fmt.Fprintf(c.App.Writer, "%s is drive %d; the redundancy of new writes is %s\n", folder, change.Drive, change.Redundancy)
		warn(c, change)
	}
	return nil
}

func driveRemove(c *cli.Context) error {
	numbers, err := driveArguments(c, 1)
	if err != nil {
		return err
	}
	if c.Bool("cancel") {
		return driveKeep(c, numbers[0])
	}
	change, err := changeDrives(c, "/drives/leave", url.Values{"drive": {numbers[0]}})
	if err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "drive %d leaves; the redundancy of new writes is %s; holdfast drive list shows how far it is, and lists it no more when its folder may be taken away\n", change.Drive, change.Redundancy)
	return nil
}

func driveReplace(c *cli.Context) error {
	if c.Bool("cancel") {
		numbers, err := driveArguments(c, 1)
		if err != nil {
			return err
		}
		return driveKeep(c, numbers[0])
	}
	arguments, err := driveArguments(c, 2)
	if err != nil {
		return err
	}
	folders, err := config.Folders(arguments[1:])
	if err != nil {
		return usageError{err}
	}
	if len(folders) != 1 {
		return usageError{fmt.Errorf("%s stands for %d folders; one takes the place of a drive", arguments[1], len(folders))}
	}
	change, err := changeDrives(c, "/drives/add", url.Values{"drive": {arguments[0]}, "path": {folders[0]}})
	if err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "%s is drive %d, and takes the place of drive %s; holdfast drive list shows how far it is, and lists drive %s no more when its folder may be taken away\n",
		folders[0], change.Drive, arguments[0], arguments[0])
	warn(c, change)
	return nil
}

func driveKeep(c *cli.Context, number string) error {
	change, err := changeDrives(c, "/drives/keep", url.Values{"drive": {number}})
	if err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "drive %d stays; the redundancy of new writes is %s\n", change.Drive, change.Redundancy)
	return nil
}

// driveArguments returns the arguments of a command of which the first is the number of a drive.
func driveArguments(c *cli.Context, want int) ([]string, error) {
	arguments := c.Args().Slice()
	if len(arguments) != want {
		return nil, usageError{fmt.Errorf("%s takes %s, not %s; see %s --help", called(c.Command.HelpName), count(want, "argument", "arguments"), count(len(arguments), "argument", "arguments"), c.Command.HelpName)}
	}
	if _, err := strconv.ParseUint(arguments[0], 10, 64); err != nil {
		return nil, usageError{fmt.Errorf("%q is no number of a drive; holdfast drive list shows them", arguments[0])}
	}
	return arguments, nil
}

func changeDrives(c *cli.Context, path string, query url.Values) (change daemon.DriveChange, err error) {
	body, err := askLocalFor(c, http.MethodPost, path+"?"+query.Encode(), driveWait)
	if err == nil {
		if err = json.Unmarshal(body, &change); err != nil {
			err = fmt.Errorf("the daemon's answer: %w", err)
		}
	}
	return change, err
}

func warn(c *cli.Context, change daemon.DriveChange) {
	for _, text := range change.Warnings {
		fmt.Fprintf(c.App.ErrWriter, "holdfast: warning: %s\n", text)
	}
}
