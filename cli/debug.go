package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"

	"holdfast/daemon"
	"holdfast/engine"
	"holdfast/engine/disk"
	"holdfast/engine/drive"
	"holdfast/engine/group"
	"holdfast/engine/meta"
	"holdfast/observe"
)

func debugCommand() *cli.Command {
	sub := func(name, usage string, f func(io.Writer, disk.FS) error) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, ArgsUsage: "DRIVE", Description: "DRIVE is the folder of a drive. Stop the daemon first.",
			Action: func(c *cli.Context) error {
				if c.NArg() != 1 {
					return usageError{fmt.Errorf("debug %s takes the folder of one drive; see holdfast debug %s --help", name, name)}
				}
				fsys, err := disk.OS(c.Args().First())
				if err != nil {
					return err
				}
				defer fsys.Close()
				err = f(c.App.Writer, fsys)
				if errors.Is(err, drive.ErrLocked) {
					err = fmt.Errorf("%w; stop the daemon first", err)
				}
				return err
			},
		}
	}
	return &cli.Command{
		Name: "debug", Usage: "look into the folders of a node",
		Description: "steps reads the state folder of a node, whether its daemon runs or not. The others read the folder of one drive, and change nothing that a\n" +
			"node would miss; stop the daemon first.",
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return noCommand(c)
			}
			return cli.ShowSubcommandHelp(c)
		},
		Subcommands: []*cli.Command{
			{
				Name: "steps", Usage: "show how often each step of the daemon's work was begun, and which were under way when it ended", ArgsUsage: "STATE",
				Description: "STATE is the state folder of the node, as --state names it. The daemon may run.",
				Action: func(c *cli.Context) error {
					if c.NArg() != 1 {
						return usageError{errors.New("debug steps takes the state folder of a node; see holdfast debug steps --help")}
					}
					return debugSteps(c.App.Writer, filepath.Join(c.Args().First(), daemon.StepsFile))
				},
			},
			sub("check", "hold all rows of each group's replica on a drive against each other", debugCheck),
			sub("drive", "show the identity and the segments of a drive", debugDrive),
			sub("log", "show the frames and records of a drive's meta stream, commands in words", debugLog),
			sub("index", "show every row of a drive's index, in bytes and in words", debugIndex),
			sub("extent", "list the shards on a drive with their places and the number of their checksums", debugExtent),
		},
	}
}

func debugSteps(w io.Writer, path string) error {
	list, err := observe.ReadRecord(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s has no record of steps; give the state folder of a node, as --state names it", filepath.Dir(path))
	}
	for _, s := range list {
		fmt.Fprintf(w, "%10d begun %3d under way  %s\n", s.Entered, s.Entered-s.Left, s.Name)
	}
	return err
}

// debugCheck checks the rows as they are on the drive: what its log has beyond them is not there yet, and need not be.
func debugCheck(w io.Writer, fsys disk.FS) error {
	return withDrive(fsys, func(d *drive.Drive) error {
		for _, id := range []engine.GroupID{0, 1} {
			rows, index, err := group.RowsOn(id, d)
			if err != nil {
				return err
			}
			if rows == nil {
				fmt.Fprintf(w, "group %d has no replica here\n", id)
				continue
			}
			census, err := meta.Check(rows)
			if err != nil {
				return fmt.Errorf("the rows of group %d at entry %d contradict each other: %w", id, index, err)
			}
			fmt.Fprintf(w, "group %d agrees at entry %d: %+v\n", id, index, census)
		}
		return nil
	})
}

func debugDrive(w io.Writer, fsys disk.FS) error {
	id, geometry, err := drive.Identify(fsys)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "cluster %x\ndrive %d\nincarnation %016x\nrole %s\ncreated %s\nmeta stream %d bytes\nsegments %d bytes\nreserve %d bytes\n",
		id.Cluster, id.Drive, id.Incarnation, id.Role, id.Created.UTC(), geometry.RingBytes, geometry.SegmentBytes, geometry.ReserveBytes)
	return withDrive(fsys, func(d *drive.Drive) error {
		segments := d.Segments()
		slices.SortFunc(segments, func(a, b drive.SegmentInfo) int { return cmp.Compare(a.Number, b.Number) })
		for _, s := range segments {
			fmt.Fprintf(w, "segment %+v\n", s)
		}
		return nil
	})
}

func withDrive(fsys disk.FS, f func(*drive.Drive) error) error {
	d, err := drive.Open(fsys, drive.Options{})
	if err != nil {
		return err
	}
	err = f(d)
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	return err
}

func debugLog(w io.Writer, fsys disk.FS) error {
	for frame, err := range drive.Frames(fsys) {
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "frame at %d, %d records\n", frame.Position, len(frame.Records))
		for _, r := range frame.Records {
			fmt.Fprintf(w, "  %d %s group %d, %d bytes\n", r.Sequence, r.Kind, r.Group, r.Bytes)
			if r.Kind != drive.RecordGroup {
				fmt.Fprintf(w, "    %s\n", r.Text)
				continue
			}
			for _, line := range group.DescribeRecord(r.Payload, meta.Describe) {
				fmt.Fprintf(w, "    %s\n", line)
			}
		}
	}
	return nil
}

func debugIndex(w io.Writer, fsys disk.FS) error {
	return withDrive(fsys, func(d *drive.Drive) error {
		for row, err := range d.Rows() {
			if err != nil {
				return err
			}
			text := row.Text
			if row.Store {
				if text, err = group.DescribeRow(row.Key[1:], row.Value, meta.DescribeRow); err != nil {
					text = err.Error()
				}
			}
			if _, err := fmt.Fprintf(w, "%q = %x\n    %s\n", row.Key, row.Value, text); err != nil {
				return err
			}
		}
		return nil
	})
}

func debugExtent(w io.Writer, fsys disk.FS) error {
	return withDrive(fsys, func(d *drive.Drive) error {
		var after engine.ShardID
		for {
			list, err := d.Shards(after, 1000)
			if err != nil || len(list) == 0 {
				return err
			}
			for _, s := range list {
				file, offset, bytes, err := d.ShardPlace(s.ID)
				if err != nil {
					return err
				}
				x := s.ID.Extent
				fmt.Fprintf(w, "extent %d-%d-%d shard %d: %s at %d, %d bytes, %d checksums\n", x.Group, x.Epoch, x.Counter, s.ID.Index, file, offset, bytes, len(s.Sums))
			}
			after = list[len(list)-1].ID
		}
	})
}
