package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"holdfast/daemon"
	"holdfast/daemon/config"
)

func statusCommand() *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "show drives, groups and how well everything is protected",
		Description: "Asks the daemon of this machine over its socket. Exits with 3 if an extent lacks shards or parity, a drive is out or a group lacks replicas, and says which.\n\n    holdfast status\n    holdfast status --json | jq .extents_missing_shards",
		Flags:       append([]cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print all of it as JSON"}}, flags("state", "socket")...),
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			body, status, err := askStatus(c)
			if err != nil {
				return err
			}
			causes := causes(status)
			if !c.Bool("json") {
				err = printStatus(c.App.Writer, status, causes)
			} else if _, err = c.App.Writer.Write(body); len(causes) > 0 {
				fmt.Fprintf(c.App.ErrWriter, "holdfast: not fully protected: %s\n", strings.Join(causes, "; "))
			}
			if err == nil && len(causes) > 0 {
				return exitStatus(3)
			}
			return err
		},
	}
}

// askStatus asks the daemon of this machine, and returns its answer too as it came.
func askStatus(c *cli.Context) (body []byte, status *daemon.Status, err error) {
	if body, err = askLocal(c, http.MethodGet, "/status"); err != nil {
		return nil, nil, err
	}
	if err := json.Unmarshal(body, &status); err != nil {
		return nil, nil, fmt.Errorf("the daemon's answer: %w", err)
	}
	return body, status, nil
}

// causes says why something is not fully protected; empty: nothing is known.
func causes(s *daemon.Status) (list []string) {
	for _, d := range s.Drives {
		switch {
		case d.State == "in", d.State == "leaving": // what is on one that leaves is protected as ever
		case d.Witness:
			list = append(list, "the witness is "+d.State)
		default:
			list = append(list, fmt.Sprintf("drive %d is %s", d.Drive, d.State))
		}
	}
	for _, g := range s.Groups {
		switch {
		case !g.Quorum:
			list = append(list, fmt.Sprintf("group %d has no majority: %d of %d replicas; bring back the drives and start the daemon again", g.Group, g.Live, g.Replicas))
		case g.Live < g.Replicas:
			list = append(list, fmt.Sprintf("group %d has %d of %d replicas", g.Group, g.Live, g.Replicas))
		}
	}
	return append(list, missing(s)...)
}

// missing says which shards are not where they should be.
func missing(s *daemon.Status) (list []string) {
	if s.Unknown != "" {
		return []string{"what is recorded cannot be read: " + s.Unknown}
	}
	if s.UnderProtected > 0 {
		list = append(list, count(s.UnderProtected, "extent lacks", "extents lack")+" shards")
	}
	if s.AwayShards > 0 {
		list = append(list, awayText(s))
	}
	if s.Reduced > 0 {
		list = append(list, count(s.Reduced, "extent has", "extents have")+" less parity than "+s.Redundancy+
			", written while drives were away; they are written anew once enough drives are in")
	}
	return list
}

// awayText counts extents while one drive is away: each has one shard there. The shards of several drives may be of the same extents.
func awayText(s *daemon.Status) string {
	out := 0
	for _, d := range s.Drives {
		if d.State != "in" && !d.Witness && d.Shards == s.AwayShards {
			out++
		}
	}
	if out == 1 {
		return count(s.AwayShards, "extent has", "extents have") + " a shard on a drive that is out"
	}
	return count(s.AwayShards, "shard is", "shards are") + " recorded on drives that are out or were replaced"
}

func count(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// askLocal asks the daemon whose socket the command's flags, the environment or the file name.
func askLocal(c *cli.Context, method, path string) ([]byte, error) {
	return askLocalFor(c, method, path, answerWait)
}

// askLocalFor is askLocal for what may take long.
func askLocalFor(c *cli.Context, method, path string, wait time.Duration) ([]byte, error) {
	loaded, err := load(c, nil)
	if err != nil {
		return nil, err
	}
	if loaded.Socket == config.Off {
		return nil, usageError{errors.New("the socket is off, so there is nothing to ask; start the daemon with a --socket, and name the same here")}
	}
	return ask(c.Context, loaded.Socket, method, path, wait)
}

// answerWait is how long an answer of the daemon is waited for that takes no work on a drive.
const answerWait = 30 * time.Second

// ask asks for a path of the local API.
func ask(ctx context.Context, socket, method, path string, wait time.Duration) ([]byte, error) {
	client := &http.Client{Timeout: wait, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, method, "http://local"+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, noAnswer(socket, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("the daemon says: %s", bytes.TrimSpace(body))
	}
	return body, err
}

// noAnswer says why the daemon could not be asked.
func noAnswer(socket string, err error) error {
	var timeout net.Error
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("only the user of the daemon may ask it at %s; run the command as that user", socket)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("no daemon answers: there is no socket %s; is it running, and is --state or --socket the same as the daemon's?", socket)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no daemon answers at %s; is it running? The socket is that of one that was killed", socket)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("the daemon at %s has not answered in time; its log says what it waits for", socket)
	}
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	return fmt.Errorf("no daemon answers at %s: %w", socket, err)
}

// printStatus writes the status. What is wrong, in the lines above, is repeated in the last.
func printStatus(w io.Writer, s *daemon.Status, causes []string) error {
	at := s.S3
	if s.TLS {
		at = "https://" + at
	}
	fmt.Fprintf(w, "holdfast %s, up %s, S3 at %s, redundancy %s\n\n", s.Version, time.Since(s.Started).Round(time.Second), at, s.Redundancy)
	fmt.Fprintf(w, "%-6s %-8s %-8s %10s %10s %8s  %s\n", "drive", "role", "state", "free", "total", "shards", "path")
	for _, d := range s.Drives {
		line := fmt.Sprintf("%-6d %-8s %-8s %10s %10s %8d  %s %s", d.Drive, roleText(&d), d.State, bytesText(d.Free), bytesText(d.Total), d.Shards, d.Path, d.Problem)
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
	printLeaving(w, s.Drives)
	printScrubs(w, s.Drives)
	for _, g := range s.Groups {
		quorum := ""
		if !g.Quorum {
			quorum = ", no quorum"
		}
		fmt.Fprintf(w, "group %d: %d of %d replicas live%s, leader %d, index %d\n", g.Group, g.Live, g.Replicas, quorum, g.Leader, g.Index)
		for _, problem := range g.Problems {
			fmt.Fprintf(w, "  %s\n", problem)
		}
	}
	if s.Trash > 0 {
		fmt.Fprintf(w, "trash: %s to be taken apart, with %s; their room is given back meanwhile\n",
			count(s.Trash, "removed directory or upload", "removed directories and uploads"), count(int(s.TrashVersions), "version", "versions"))
	}
	if s.Cursors > 0 {
		fmt.Fprintf(w, "followers: %s, %s noted for them%s\n", count(s.Cursors, "cursor", "cursors"), count(int(s.Changes), "change", "changes"), behind(s))
	}
	if s.Scattered > 0 {
		fmt.Fprintf(w, "pieces: %s in many pieces to be looked at\n", count(s.Scattered, "patched file", "patched files"))
	}
	printSparse(w, s.Drives)
	k := &s.Keeper
	fmt.Fprintf(w, "keepers: %s rebuilt, %s moved, %s widened, %s swept, %s taken apart, %s and %s compacted, %s freed, %d waiting; %d reported by readers, %d by the scrub\n",
		count(int(k.ShardsRebuilt), "shard", "shards"), count(int(k.ShardsMoved), "shard", "shards"), count(int(k.ExtentsWidened), "extent", "extents"),
		count(int(k.ShardsSwept), "shard", "shards"), count(int(k.VersionsTakenApart), "version", "versions"), count(int(k.FilesCompacted), "file", "files"), count(int(k.SegmentsCompacted), "segment", "segments"),
		count(int(k.ContentsFreed), "content", "contents"), s.Garbage, k.Reported, k.ScrubDamaged)
	verdict := "every shard is where it should be"
	if missing := missing(s); len(missing) > 0 {
		verdict = strings.Join(missing, "; ")
	}
	_, err := fmt.Fprintf(w, "protection, as it is recorded: %s; %s\n", verdict, unknown(s))
	if len(causes) > 0 {
		_, err = fmt.Fprintf(w, "not fully protected: %s\n", strings.Join(causes, "; "))
	}
	return err
}

// printSparse says which drives have segments in which little is left.
func printSparse(w io.Writer, drives []daemon.DriveStatus) {
	for _, d := range drives {
		if d.Sparse > 0 {
			fmt.Fprintf(w, "drive %d: little is left in %d of %s; and that moves together\n", d.Drive, d.Sparse, count(d.Segments, "segment", "segments"))
		}
	}
}

// behind says which followers are far behind, or lost.
func behind(s *daemon.Status) (text string) {
	if s.ChangesBehind > 0 {
		text = fmt.Sprintf("; the slowest, of bucket %s, is %s behind", s.SlowestBucket, count(int(s.ChangesBehind), "change", "changes"))
	}
	if s.LostCursors > 0 {
		text += "; " + count(s.LostCursors, "cursor was too far behind and is lost: its follower lists its bucket", "cursors were too far behind and are lost: their followers list their buckets") + " anew"
	}
	return text
}

// unknown says which damage may be there that nobody knows of.
func unknown(s *daemon.Status) string {
	since := time.Now()
	for _, d := range s.Drives {
		switch {
		case d.Witness:
		case d.Scrub == nil || d.Scrub.Last == nil:
			return "damage that neither a reader nor the scrub has met yet is not known"
		case d.Scrub.Last.Started.Before(since):
			since = d.Scrub.Last.Started
		}
	}
	return "damage that came after " + timeText(since) + ", and that nobody has met yet, is not known"
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
