package formats

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"holdfast/cli"
	"holdfast/engine"
	"holdfast/engine/disk"
	"holdfast/engine/drive"
	"holdfast/engine/meta"
)

// wantNewer looks at an error that should refuse something of a later version.
func wantNewer(t *testing.T, err error, what string, version, newest int) {
	t.Helper()
	words := fmt.Sprintf("%s has format %d; this holdfast reads up to %d: start the newer holdfast that wrote it", what, version, newest)
	if !errors.Is(err, engine.ErrNewer) || !engine.Is(err, engine.KindNotImplemented) || !strings.Contains(err.Error(), words) {
		t.Errorf("the error is %q (%s), want %q", fmt.Sprint(err), engine.KindOf(err), words)
	}
}

// wantNodeRefuses starts a node on a sample, in vain.
func wantNodeRefuses(t *testing.T, root, what string, version, newest int) {
	t.Helper()
	n, err := openSample(t, root)
	if err == nil {
		t.Errorf("a node starts on %s of format %d", what, version)
		n.Close()
		return
	}
	wantNewer(t, err, what, version, newest)
}

// wantDriveRefuses tries everything that begins with opening the first drive of a sample; none of it may write.
func wantDriveRefuses(t *testing.T, root, what string, version, newest int) {
	t.Helper()
	folder := filepath.Join(root, "d1")
	before, others := tree(t, folder, false), tree(t, root, true)
	fsys, err := disk.OS(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	if d, err := drive.Open(fsys, drive.Options{}); err == nil {
		t.Errorf("a drive opens with %s of format %d", what, version)
		d.Close()
	} else {
		wantNewer(t, err, what, version, newest)
	}
	if err := drive.Format(fsys, identities[0], geometry); err == nil {
		t.Error("a drive of a later version was formatted")
	}
	var out, problem bytes.Buffer
	if code := cli.Main([]string{"holdfast", "debug", "index", folder}, &out, &problem); code != 1 || !strings.Contains(problem.String(), what) {
		t.Errorf("debug index exits with %d and says %q", code, problem.String())
	}
	wantNodeRefuses(t, root, what, version, newest)
	sameTree(t, before, tree(t, folder, false))
	sameTree(t, others, tree(t, root, true))
}

// change rewrites a file of a sample.
func change(t *testing.T, path string, f func(b []byte)) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f(b)
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// TestNewerIdentity checks also that a later version may lay out as it likes what follows the version.
func TestNewerIdentity(t *testing.T) {
	for name, rest := range map[string]bool{"same layout": false, "another layout": true} {
		t.Run(name, func(t *testing.T) {
			root := unpack(t, newest)
			change(t, filepath.Join(root, "d1/holdfast.drive"), func(b []byte) {
				binary.LittleEndian.PutUint32(b[8:], 2)
				binary.LittleEndian.PutUint32(b[12:], ^uint32(2))
				if rest {
					copy(b[16:], bytes.Repeat([]byte("?"), 112))
				} else {
					binary.LittleEndian.PutUint32(b[124:], crc32.Checksum(b[:124], castagnoli))
				}
			})
			wantDriveRefuses(t, root, "the drive's identity", 2, 1)
		})
	}
}

// TestNewerFrame makes one frame a later one: the last, as a later version leaves it that was started once, or an earlier one.
func TestNewerFrame(t *testing.T) {
	for _, back := range []int{1, 2, 40} {
		t.Run(fmt.Sprint(back, " from the end"), func(t *testing.T) {
			root := unpack(t, newest)
			positions := framePositions(t, filepath.Join(root, "d1"))
			position := positions[len(positions)-back]
			change(t, filepath.Join(root, "d1/meta/ring"), func(b []byte) {
				frame := b[position%uint64(len(b)):]
				binary.LittleEndian.PutUint16(frame[4:], 2)
				sealFrame(frame, identities[0].Incarnation, position)
			})
			wantDriveRefuses(t, root, "the meta stream", 2, 1)
			var out, problem bytes.Buffer
			if code := cli.Main([]string{"holdfast", "debug", "log", filepath.Join(root, "d1")}, &out, &problem); code != 1 || !strings.Contains(problem.String(), "the meta stream has format 2") {
				t.Errorf("debug log exits with %d and says %q", code, problem.String())
			}
		})
	}
}

func framePositions(t *testing.T, folder string) (positions []uint64) {
	fsys, err := disk.OS(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	for frame, err := range drive.Frames(fsys) {
		if err != nil {
			t.Fatal(err)
		}
		positions = append(positions, frame.Position)
	}
	return positions
}

// sealFrame writes the checksum of a frame as docs/format-drive.md has it.
func sealFrame(b []byte, incarnation, position uint64) {
	payload := b[40:][:binary.LittleEndian.Uint32(b[16:])]
	var seed [16]byte
	binary.LittleEndian.PutUint64(seed[:], incarnation)
	binary.LittleEndian.PutUint64(seed[8:], position)
	sum := crc32.Update(crc32.Update(crc32.Checksum(seed[:], castagnoli), castagnoli, b[:32]), castagnoli, payload)
	binary.LittleEndian.PutUint32(b[32:], sum)
}

// TestNewerIndex is about Pebble's own format.
func TestNewerIndex(t *testing.T) {
	root := unpack(t, newest)
	markers, err := filepath.Glob(filepath.Join(root, "d1/index/marker.format-version.*"))
	if err != nil || len(markers) != 1 {
		t.Fatal(markers, err)
	}
	if err := os.Rename(markers[0], strings.TrimSuffix(markers[0], filepath.Ext(markers[0]))+".999"); err != nil {
		t.Fatal(err)
	}
	wantDriveRefuses(t, root, "the index (Pebble)", 999, int(pebble.FormatNewest))
}

// TestNewerState checks also that a later version may give the fields of node.json other types.
func TestNewerState(t *testing.T) {
	for name, text := range map[string]string{
		"same fields":  strings.Replace(nodeState, `"format": 1`, `"format": 2`, 1),
		"other fields": `{"format": 2, "cluster": {"id": 7}, "node": "n1", "drives": 3}`,
	} {
		t.Run(name, func(t *testing.T) {
			root := unpack(t, newest)
			path := filepath.Join(root, "state/node.json")
			if b, err := os.ReadFile(path); err != nil || string(b) != nodeState {
				t.Fatalf("the sample's node.json is %q, %v", b, err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			before := tree(t, root, false)
			wantNodeRefuses(t, root, "node.json", 2, 1)
			sameTree(t, before, tree(t, root, false))
		})
	}
}

// wantGroupsRefuse starts a node on drives whose own formats are those of today: they are opened, and what they say must stay as it is.
func wantGroupsRefuse(t *testing.T, root, what string, version, newest int) {
	t.Helper()
	texts := func() (all []string) {
		for _, folder := range allFolders {
			all = append(all, strings.Split(mustDebugText(t, root, folder, "log", "index"), "\n")...)
		}
		return all
	}
	before, said := tree(t, root, true), texts()
	wantNodeRefuses(t, root, what, version, newest)
	sameTree(t, before, tree(t, root, true))
	compareLines(t, strings.Join(texts(), "\n"), strings.Join(said, "\n"))
}

// The formats of today, as docs/format.md has them.
const (
	rowFormat     = 6
	commandFormat = 7
)

// TestNewerGroup makes the rows later ones that a start looks at, in each group, on one drive.
func TestNewerGroup(t *testing.T) {
	for _, c := range []struct {
		name, key, what string
		format          byte
	}{
		{"registry", "r\x00\x00\x00%c\x00r", "the registry", 1},
		{"applied", "g\x00\x00\x00%c\x00\x00\x00\x01\x00a", "the applied record", 1},
		{"hard state", "g\x00\x00\x00%c\x00\x00\x00\x01\x00h", "the hard state", 1},
		{"rows of the state machine", "g\x00\x00\x00%c\x00\x00\x00\x01g\x00\x00\x00\x00\x00\x00\x00\x00", "the row", rowFormat},
	} {
		for id := range 2 {
			t.Run(fmt.Sprint(c.name, " ", id), func(t *testing.T) {
				root := unpack(t, newest)
				key := fmt.Sprintf(c.key, id)
				openDrive(t, filepath.Join(root, "d2"), func(d *drive.Drive) {
					store := d.Store([]byte(key[:1]))
					value, ok, err := store.Get([]byte(key[1:]))
					if err != nil || !ok || value[0] != c.format {
						t.Fatalf("row %q is %x, %t, %v", key, value, ok, err)
					}
					value[0]++
					var b meta.Batch
					b.Set([]byte(key[1:]), value)
					if err := store.Commit(&b); err != nil {
						t.Fatal(err)
					}
				})
				wantGroupsRefuse(t, root, c.what, int(c.format)+1, int(c.format))
			})
		}
	}
}

// TestNewerLog appends to the log of one replica what a later version might: a record, an entry that is not applied yet, an opcode.
func TestNewerLog(t *testing.T) {
	root := unpack(t, newest)
	commands := look(t, root).commands[6]
	var applied uint64
	for _, line := range strings.Split(mustDebugText(t, root, "d1", "index"), "\n") {
		if _, err := fmt.Sscanf(line, " group 1 generation 1 applied to index %d", &applied); err == nil {
			break
		}
	}
	if applied == 0 {
		t.Fatal("the sample does not say how far it is applied")
	}
	later, unknown := bytes.Clone(commands[0]), bytes.Clone(commands[0])
	later[meta.HeaderBytes], unknown[meta.HeaderBytes+1] = commandFormat+1, 250
	t.Run("record", func(t *testing.T) {
		root := unpack(t, newest)
		record := logRecord(applied, commands[0])
		record[0] = 2
		appendRecord(t, filepath.Join(root, "d1"), record)
		wantGroupsRefuse(t, root, "the record", 2, 1)
	})
	t.Run("base", func(t *testing.T) {
		root := unpack(t, newest)
		// A generation that becomes valid with an applied record of a later version.
		appendRecord(t, filepath.Join(root, "d1"), []byte{1, 1, 2, 1, 2, 1, 1, 4, 2, 1, 2, 0, 0})
		wantGroupsRefuse(t, root, "the applied record", 2, 1)
	})
	t.Run("command", func(t *testing.T) {
		root := unpack(t, newest)
		appendRecord(t, filepath.Join(root, "d1"), logRecord(applied, later))
		wantGroupsRefuse(t, root, "the command", commandFormat+1, commandFormat)
	})
	t.Run("opcode", func(t *testing.T) {
		root := unpack(t, newest)
		appendRecord(t, filepath.Join(root, "d1"), logRecord(applied, unknown))
		before := tree(t, root, true)
		n, err := openSample(t, root)
		if err == nil {
			n.Close()
		}
		if words := "the command has opcode 250, which this holdfast does not know: start the newer holdfast that wrote it"; !errors.Is(err, engine.ErrNewer) || !strings.Contains(err.Error(), words) {
			t.Errorf("the error is %v, want %q", err, words)
		}
		sameTree(t, before, tree(t, root, true))
	})
	t.Run("today's", func(t *testing.T) {
		root := unpack(t, newest)
		appendRecord(t, filepath.Join(root, "d1"), logRecord(applied, commands[0]))
		n, err := openSample(t, root)
		if err != nil {
			t.Fatalf("the record that the others were made from is refused too: %v", err)
		}
		n.Close()
	})
}

// logRecord writes a record of replica 1 of group 1 with one entry, as docs/format.md has it.
func logRecord(applied uint64, command []byte) []byte {
	b := []byte{1, 0, 1, 1, 2, 1}
	b = binary.AppendUvarint(b, applied)
	b = append(b, 1, 0)
	b = binary.AppendUvarint(b, applied+1)
	b = append(b, 2)
	b = binary.AppendUvarint(b, uint64(len(command)))
	return append(b, command...)
}

func appendRecord(t *testing.T, folder string, payload []byte) {
	openDrive(t, folder, func(d *drive.Drive) {
		done := make(chan error, 1)
		d.Append(1, [][]byte{payload}, func(err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

// TestNewerCommands makes every command of the sample a later one: it is neither taken for another nor applied.
func TestNewerCommands(t *testing.T) {
	s := look(t, unpack(t, newest))
	for opcode, commands := range s.commands {
		for _, c := range commands {
			later := bytes.Clone(c)
			later[meta.HeaderBytes]++
			entries := []meta.Entry{{Index: 1000, Term: 2, Data: later}}
			m := meta.Machine{Group: 1}
			wantNewer(t, m.Check(meta.NewMapStore(), entries), "the command", commandFormat+1, commandFormat)
			answers, err := m.Apply(meta.NewOverlay(s.store(t, 1, 0)), entries)
			wantNewer(t, err, "the command", commandFormat+1, commandFormat)
			if answers != nil {
				t.Errorf("opcode %d has answers", opcode)
			}
			if text := meta.Describe(later); !strings.Contains(text, fmt.Sprintf("the command has format %d; this holdfast reads up to %d", commandFormat+1, commandFormat)) {
				t.Errorf("opcode %d is described as %s", opcode, text)
			}
		}
	}
}

// store returns a group's rows in memory; those whose key begins with later have a later version.
func (s *found) store(t *testing.T, id engine.GroupID, later byte) *meta.MapStore {
	t.Helper()
	store := meta.NewMapStore()
	var b meta.Batch
	for _, op := range s.rows[id] {
		value := bytes.Clone(op.Value)
		if op.Key[0] == later {
			value[0]++
		}
		b.Set(op.Key, value)
	}
	if err := store.Commit(&b); err != nil {
		t.Fatal(err)
	}
	return store
}

// TestNewerRows makes all rows of one kind later ones, which whoever reads them must refuse.
func TestNewerRows(t *testing.T) {
	s := look(t, unpack(t, newest))
	for id, rows := range s.rows {
		if err := readAll(s.store(t, id, 0), id); err != nil {
			t.Fatalf("the sample itself: %v", err)
		}
		kinds := map[byte]bool{}
		for _, op := range rows {
			kinds[op.Key[0]] = true
		}
		for _, kind := range slices.Sorted(maps.Keys(kinds)) {
			t.Run(fmt.Sprintf("%d %c", id, kind), func(t *testing.T) {
				wantNewer(t, readAll(s.store(t, id, kind), id), "the row", rowFormat+1, rowFormat)
				for _, op := range rows {
					if later := append([]byte{rowFormat + 1}, op.Value[1:]...); op.Key[0] == kind {
						_, err := meta.DescribeRow(op.Key, later)
						wantNewer(t, err, "the row", rowFormat+1, rowFormat)
					}
				}
			})
		}
	}
}

// TestNewerCondemned uses an extent that a later version gave up.
func TestNewerCondemned(t *testing.T) {
	s := look(t, unpack(t, newest))
	c := inline(1, "condemned", "")
	c.Data = meta.Data{Size: 1, Extents: []meta.Extent{{
		ID: engine.ExtentID{Group: 1, Epoch: 4, Counter: 99}, Redundancy: engine.Redundancy{Data: 1}, Size: 1, Class: engine.ClassStandard, Drives: []engine.DriveID{1},
	}}}
	if err := apply(s.store(t, 1, 0), 1, 1000, c); err != nil {
		t.Fatal(err)
	}
	wantNewer(t, apply(s.store(t, 1, 'y'), 1, 1000, c), "the row", rowFormat+1, rowFormat)
}

// apply applies a command of the open epoch to rows that stay as they are.
func apply(rows *meta.MapStore, id engine.GroupID, number uint64, c meta.Command) error {
	m := meta.Machine{Group: id}
	answers, err := m.Apply(meta.NewOverlay(rows), []meta.Entry{{Index: 1000, Term: 2, Data: meta.Encode(4, number, 0, c)}})
	if err == nil {
		_, err = meta.ParseAnswer(answers[0])
	}
	return err
}

// readAll reads every kind of row of the sample's groups by the calls that read it, and by commands where no call does.
func readAll(rows *meta.MapStore, id engine.GroupID) error {
	var problems []error
	check := func(err error) { problems = append(problems, err) }
	apply := func(number uint64, c meta.Command) { check(apply(rows, id, number, c)) }
	if id == 0 {
		_, err := meta.LookupBucket(rows, "bucket")
		check(err)
		_, err = meta.ListBuckets(rows, "", "", 10)
		check(err)
		_, err = meta.ListDrives(rows)
		check(err)
		value, err := meta.GetSetting(rows, "colour")
		check(err)
		if err == nil && string(value) != "blue" {
			check(fmt.Errorf("the setting is %q", value))
		}
		apply(1000, &meta.ReserveBucket{Name: "another", Group: 1})
		apply(14, &meta.SetBucket{}) // answered before
		return errors.Join(problems...)
	}
	_, err := meta.Lookup(rows, 1, "folder/large", "")
	check(err)
	_, err = meta.List(rows, 1, engine.ListOptions{})
	check(err)
	_, err = meta.ListVersions(rows, 3, engine.ListVersionsOptions{})
	check(err)
	_, err = meta.LoadContent(rows, 14)
	check(err)
	_, err = meta.LoadExtent(rows, engine.ExtentID{Group: 1, Epoch: 4, Counter: 1})
	check(err)
	_, err = meta.Epochs(rows)
	check(err)
	_, err = meta.ListGarbage(rows, 1000, 10)
	check(err)
	_, err = meta.HasTrash(rows)
	check(err)
	_, err = meta.FirstDetached(rows)
	check(err)
	check(readFeed(rows))
	_, _, err = meta.ListMissing(rows, "", 10)
	check(err)
	_, err = meta.ListPlaced(rows, 1, engine.ExtentID{}, 10)
	check(err)
	_, _, err = meta.LoadDrive(rows, 8)
	check(err)
	_, err = meta.BucketUsage(rows, 1)
	check(err)
	_, err = meta.LoadUpload(rows, 1, "upload/open", uploadID('b'))
	check(err)
	_, err = meta.ListUploads(rows, 1, engine.ListUploadsOptions{})
	check(err)
	_, err = meta.ListParts(rows, 1, uploadID('b'), 0, 10)
	check(err)
	_, err = meta.HasBucket(rows, 1)
	check(err)
	_, err = meta.LoadDocument(rows, 3, "tagging")
	check(err)
	file, err := meta.LookupFile(rows, treeBucket, engine.RootNode, "first", "")
	check(err)
	if err == nil {
		_, err = meta.LoadXattr(rows, file, "user.colour")
		check(err)
		_, err = meta.LoadLocks(rows, treeBucket, file.Info.Node)
		check(err)
	}
	_, err = meta.CountScattered(rows)
	check(err)
	owners, err := meta.ListOwners(rows)
	check(err)
	for _, o := range owners {
		apply(1002, &meta.RenewOwner{Bucket: o.Bucket, Owner: o.ID})
	}
	apply(1001, &meta.CloseEpochs{Node: nodeID, Below: 1000})
	apply(68, &meta.ClearTrash{}) // answered before
	return errors.Join(problems...)
}
