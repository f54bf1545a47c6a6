package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/urfave/cli/v2"

	"holdfast/daemon"
)

func statusCommand() *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "show drives, groups and how well everything is protected",
		Description: "Asks the daemon of this machine over its socket. Exits with 3 if an extent lacks shards or a drive is out.\n\n    holdfast status\n    holdfast status --json | jq .extents_missing_shards",
		Flags:       append([]cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print all of it as JSON"}}, flags()...),
		Action: func(c *cli.Context) error {
			loaded, err := load(c, nil)
			if err != nil {
				return err
			}
			body, err := ask(c.Context, loaded.Socket, "/status")
			if err != nil {
				return err
			}
			var status daemon.Status
			if err := json.Unmarshal(body, &status); err != nil {
				return fmt.Errorf("the daemon's answer: %w", err)
			}
			if c.Bool("json") {
				_, err = c.App.Writer.Write(body)
			} else {
				err = printStatus(c.App.Writer, &status)
			}
			if err == nil && !healthy(&status) {
				return exitStatus(3)
			}
			return err
		},
	}
}

func healthy(s *daemon.Status) bool {
	for _, d := range s.Drives {
		if d.State != "in" {
			return false
		}
	}
	return s.Protected()
}

// ask gets a path of the local API.
func ask(ctx context.Context, socket, path string) ([]byte, error) {
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://local"+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("no daemon answers at %s: %w; is it running, and is --state or --socket the same as the daemon's?", socket, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("the daemon says: %s", body)
	}
	return body, err
}

func printStatus(w io.Writer, s *daemon.Status) error {
	fmt.Fprintf(w, "holdfast %s, up %s, S3 at %s, redundancy %s\n\n", s.Version, time.Since(s.Started).Round(time.Second), s.S3, s.Redundancy)
	fmt.Fprintf(w, "%-6s %-8s %10s %10s %8s  %s\n", "drive", "state", "free", "total", "shards", "path")
	for _, d := range s.Drives {
		state := d.State
		if d.Witness {
			state = "witness"
		}
		fmt.Fprintf(w, "%-6d %-8s %10s %10s %8d  %s %s\n", d.Drive, state, bytesText(d.Free), bytesText(d.Total), d.Shards, d.Path, d.Problem)
	}
	for _, g := range s.Groups {
		fmt.Fprintf(w, "group %d: %d of %d replicas live, leader %d, index %d\n", g.Group, g.Live, g.Replicas, g.Leader, g.Index)
	}
	fmt.Fprintf(w, "keepers: %d shards rebuilt, %d swept, %d contents freed, %d waiting; %d reported by readers\n",
		s.Keeper.ShardsRebuilt, s.Keeper.ShardsSwept, s.Keeper.ContentsFreed, s.Garbage, s.Keeper.Reported)
	verdict := "every shard is recorded where it should be"
	if !s.Protected() {
		verdict = fmt.Sprintf("%d extents lack shards, %d shards are recorded on lost drives", s.UnderProtected, s.AwayShards)
	}
	_, err := fmt.Fprintf(w, "protection: %s\n", verdict)
	return err
}

func bytesText(n int64) string {
	value, unit := float64(n), "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB", "PiB"} {
		if value < 1024 {
			break
		}
		value, unit = value/1024, next
	}
	return fmt.Sprintf("%.1f %s", value, unit)
}
