package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"holdfast/daemon"
)

func scrubCommand() *cli.Command {
	return &cli.Command{
		Name: "scrub", Usage: "read and prove every shard, now, or see how far that is",
		Description: "The daemon reads every shard once in each --scrub-period by itself, at a pace that leaves the drives to their users. What is found missing or\n" +
			"rotten is made again from the other drives. A pass is of one drive.\n\n    holdfast scrub start\n    holdfast scrub start --drive 3\n    holdfast scrub status",
		Subcommands: []*cli.Command{
			{
				Name: "start", Usage: "begin a pass now",
				Description: "Begins a pass over each drive, or over one, at --scrub-rate of the daemon, whatever the period. A pass that has begun by itself gives way to it; it goes on\n" +
					"after a restart, also where --scrub-period is off. Exits with 1 if one was not begun: its drive is out, or a pass that was asked for is under way.",
				Flags:  append([]cli.Flag{&cli.Uint64Flag{Name: "drive", Usage: "the drive of this `NUMBER`, as holdfast status has it; default all"}}, flags("state", "socket")...),
				Action: scrubStart,
			},
			{
				Name: "status", Usage: "show the last complete pass over each drive, and the one under way",
				Description: "Asks the daemon of this machine over its socket. It counts nothing, and answers at once.",
				Flags:       append([]cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print all of it as JSON"}}, flags("state", "socket")...),
				Action:      scrubStatus,
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

func scrubStart(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	path := "/scrub"
	if c.IsSet("drive") {
		path += fmt.Sprint("?drive=", c.Uint64("drive"))
	}
	body, err := askLocal(c, http.MethodPost, path)
	if err != nil {
		return err
	}
	var list []daemon.ScrubStart
	if err := json.Unmarshal(body, &list); err != nil {
		return fmt.Errorf("the daemon's answer: %w", err)
	}
	var problems []string
	for _, s := range list {
		if s.Problem != "" {
			problems = append(problems, s.Problem)
			continue
		}
		fmt.Fprintf(c.App.Writer, "drive %d: a pass has begun; holdfast scrub status shows how far it is\n", s.Drive)
	}
	if len(problems) > 0 {
		return errors.New(strings.Join(problems, "; "))
	}
	return nil
}

func scrubStatus(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	body, err := askLocal(c, http.MethodGet, "/scrub")
	if err != nil {
		return err
	}
	if c.Bool("json") {
		_, err = c.App.Writer.Write(body)
		return err
	}
	var s daemon.Scrub
	if err := json.Unmarshal(body, &s); err != nil {
		return fmt.Errorf("the daemon's answer: %w", err)
	}
	fmt.Fprintf(c.App.Writer, "scrub period %s, rate at most %s for each drive\n", s.Period, s.Rate)
	printScrubs(c.App.Writer, s.Drives)
	return nil
}

// printScrubs writes a line for each drive with shards.
func printScrubs(w io.Writer, drives []daemon.DriveStatus) {
	for _, d := range drives {
		if d.Scrub != nil {
			fmt.Fprintf(w, "scrub of drive %d: %s\n", d.Drive, scrubText(&d))
		}
	}
}

// scrubText says when every shard was read last, and how far the scrub is with the next time.
func scrubText(d *daemon.DriveStatus) string {
	s := d.Scrub
	if !s.Known {
		return "not known; " + s.Why
	}
	parts := []string{"never complete"}
	if last := s.Last; last != nil {
		parts[0] = fmt.Sprintf("complete %s, in %s: %s, %s, %d damaged", timeText(last.Ended), last.Ended.Sub(last.Started).Round(time.Second),
			count(int(last.Shards), "shard", "shards"), bytesText(last.Bytes), last.Damaged)
	}
	switch pass := s.Pass; {
	case pass != nil:
		parts = append(parts, fmt.Sprintf("under way since %s, %.1f %%, %d damaged", timeText(pass.Started), pass.Percent, pass.Damaged))
		if d.State != "in" && d.State != "leaving" {
			parts = append(parts, "rests while the drive is "+d.State)
		}
	case s.Due != nil:
		parts = append(parts, "next "+timeText(*s.Due))
	default:
		parts = append(parts, "next when it is asked for")
	}
	if s.Why != "" {
		parts = append(parts, "waits: "+s.Why)
	}
	return strings.Join(parts, "; ")
}

func timeText(t time.Time) string { return t.Local().Format("2006-01-02 15:04") }
