package formats

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"holdfast/engine"
	"holdfast/engine/disk"
	"holdfast/engine/drive"
	"holdfast/engine/group"
	"holdfast/engine/meta"
)

const (
	noon  = "1700000000123456789" // created, in nanoseconds
	idA   = `"\x17\x97\x9c\xfe6*\x00\x00aaaaaaaaaaaaaaaa"`
	idB   = `"\x17\x97\x9c\xfe6*\x00\x00bbbbbbbbbbbbbbbb"`
	idD   = `"\x17\x97\x9c\xfe6*\x00\x00dddddddddddddddd"`
	idE   = `"\x17\x97\x9c\xfe6*\x00\x00eeeeeeeeeeeeeeee"`
	idF   = `"\x17\x97\x9c\xfe6*\x00\x00ffffffffffffffff"`
	hexB  = "17979cfe362a000062626262626262626262626262626262"
	hexD  = "17979cfe362a000064646464646464646464646464646464"
	hexE  = "17979cfe362a000065656565656565656565656565656565"
	image = `ContentType="image/png"`
	plain = `ContentType="text/plain" ContentEncoding="identity" ContentDisposition="inline" ContentLanguage="en" CacheControl="no-store" Expires="never" User=["a"="1" "b"="2"]`
)

// wantRows has rows of the state machine, by the first byte of their keys, as they stand in both groups on the first drive.
var wantRows = map[byte][]string{
	'a': {`aggregate bucket=1 directory=3 {objects=2 bytes=100003 versions=2 spare=1018 changed=` + noon + `}`, `aggregate bucket=4 directory=2 {objects=2 bytes=6 versions=2 locked=2 spare=1017 changed=` + noon + `}`},
	'b': {`bucket bucket=1 {name="bucket" created=` + noon + ` inode=11 sequence=9 counted=true}`, `bucket bucket=3 {name="versions" created=` + noon + ` inode=3 sequence=6 versioning=1 counted=true}`,
		`bucket bucket=4 {name="locked" created=` + noon + ` inode=4 sequence=4 versioning=1 lock={Enabled=true Mode=1 Days=7} quota={Bytes=1000 Objects=100} counted=true}`},
	'c': {
		`content content=1 {refs=1 size=12 inline=true data=68656c6c6f2c206472697665}`,
		`content content=2 {refs=1 size=100000 runs=[{Extent=1.4.1 Length=100000}] count=1}`,
		`content content=6 {refs=1 size=10 inline=true data=70617274206f6e652c20 part={number=1 checksum={Algorithm="SHA256" Sum=01}}}`,
		`content content=5 {size=70000 runs=[{Extent=1.4.3 Length=70000}] count=1}`,
		`content content=8 {refs=1 size=18 runs=[{Content=6 Length=10} {Content=7 Length=8}] count=2}`,
		`content content=14 {refs=1 size=5005 count=2 staged=4}`,
	},
	'd': {`drive drive=8 {out=true gone=true}`, `drive drive=9 {leaving=true heir=2}`},
	'e': {`epoch epoch=3 {node=257 closed=true confirmed=1}`, `epoch epoch=4 {node=257 confirmed=116}`},
	'g': {`group always=0 {stamp=` + noon + ` content=125}`},
	'i': {
		`inode bucket=1 inode=1 {kind=2 links=1 posix={born=` + noon + `}}`,
		`inode bucket=1 inode=3 {kind=2 links=1 parent=1 name="folder/" posix={born=` + noon + `}}`,
		`inode bucket=1 inode=2 {kind=1 links=1 parent=1 name="hello.txt" content=1 size=12 stamp=` + noon + ` sequence=1 etag={md5=2cd1d71805e0fb7e71b4c27c9c8c198c} class="STANDARD" attributes={` +
			plain + `} checksum={Algorithm="CRC32C" Sum=01020304 Composite=true Parts=2} tags=["first"="1" "second"=""]}`,
		`inode bucket=3 inode=3 {kind=1 links=1 parent=1 name="k" content=18 size=3 stamp=` + noon + ` sequence=2 etag={md5=b8a9f715dbb64fd5c56e7783c6820a61} class="STANDARD" tags=["late"="tag"]}`,
		`inode bucket=4 inode=4 {kind=1 links=1 parent=2 name="hand" content=20 size=3 stamp=` + noon + ` sequence=3 etag={md5=b8a9f715dbb64fd5c56e7783c6820a61} class="STANDARD" Lock={Retention={Mode=2 Until=2024-11-14T22:13:20.123Z} Lifted=true}}`,
		`inode bucket=5 inode=5 {kind=1 links=1 parent=6 name="log" posix={changed=` + noon + `} content=22 size=8 stamp=` + noon + ` sequence=2 etag={md5=6e5de2ccca1248661082685a0411ed9f parts=2} class="STANDARD" token="d9858cfaa031c3943ab0fb0ec13d8f95"}`,
		`inode bucket=1 inode=9 {kind=1 links=1 parent=8 name="done" content=8 size=18 stamp=` + noon + ` sequence=7 etag={md5=2318a082593f81a5f4be0b15f0a22842 parts=2} class="STANDARD" attributes={` +
			image + `} checksum={Algorithm="SHA256" Sum=09 Composite=true Parts=2} upload=` + idA + ` tags=["of"="upload"]}`,
	},
	'j': {`detached bucket=5 directory=7 {versions=2 change=7}`, `detached bucket=6 directory=1 {versions=1}`},
	'm': {`missing slack=0 extent=1.4.4 {}`},
	'n': {
		`answer epoch=4 number=15 {Bucket=6 Stamp=` + noon + `}`,
		`answer epoch=4 number=116 {Used=[true false]}`,
		`answer epoch=4 number=117 {Sequence=9 Stamp=` + noon + ` Size=4 ETag="98bd1c45684cf587ac2347a92dd7bb51" Version="null"}`,
		`answer epoch=4 number=118 {Kind=3 Failed=true Message="the bucket was deleted"}`,
	},
	'o': {`document bucket=3 name="tagging" {value=3c54616767696e672f3e}`},
	'p': {`placement drive=1 extent=1.4.1 {}`, `placement drive=9 extent=1.4.3 {index=1}`},
	'q': {`garbage index=13 content=5 {}`},
	'r': {`run content=11 number=1 {Run={Content=10 Length=10}}`, `run content=14 number=1 {Run={Content=13 Length=5000}}`},
	's': {`staged epoch=4 content=14 {}`},
	't': {
		`entry bucket=1 directory=1 name="folder/" {kind=1 inode=3}`,
		`entry bucket=3 directory=1 name="k" {kind=3 sequence=3 stamp=` + noon + ` class="STANDARD" named=true older=1}`,
		`entry bucket=1 directory=8 name="done" {kind=2 inode=9 sequence=7 stamp=` + noon + ` size=18 etag={md5=2318a082593f81a5f4be0b15f0a22842 parts=2} class="STANDARD"}`,
	},
	'v': {`older bucket=3 directory=1 name="k" version=0000000000000002 {kind=2 inode=3 sequence=2 stamp=` + noon + ` size=3 etag={md5=b8a9f715dbb64fd5c56e7783c6820a61} class="STANDARD" named=true}`},
	'u': {
		`upload bucket=1 key="upload/open" id=` + hexB + ` {started=` + noon + ` class="STANDARD" attributes={` + image + `} algorithm="SHA256" full=true tags=["of"="upload"]}`,
		`upload bucket=4 key="by/upload" id=17979cfe362a000067676767676767676767676767676767 {started=` + noon + ` class="STANDARD" Lock={Retention={Mode=2 Until=2024-11-14T22:13:20.123Z}}}`,
		`upload bucket=2 key="never\x00done" id=` + hexE + ` {started=` + noon + ` class="STANDARD"}`,
	},
	'w': {`part bucket=1 id=` + hexB + ` part=1 {content=12 size=5 stamp=` + noon + ` md5=8b04d5e3775d298e78455efc5ca404d5 checksum={Algorithm="SHA256" Sum=01}}`},
	'x': {
		`extent extent=1.4.1 {Redundancy={Data=1 Parity=1} Size=100000 Class="STANDARD" Content=2 Drives=[1 2]}`,
		`extent extent=1.4.4 {Redundancy={Data=1 Parity=1} Size=5000 Class="STANDARD" Content=13 Drives=[1 2] Missing=2 Reduced=true}`,
	},
	'y': {`condemned extent=1.4.99 {}`},
	'z': {`trash bucket=1 id=` + hexD + ` {}`, `trash bucket=2 id= {}`},
	'B': {`name name="bucket" {id=1 group=1 state=2 created=` + noon + `}`, `name name="locked" {id=4 group=1 state=1 created=` + noon + ` lock=true}`},
	'D': {
		`map drive drive=1 {Node=257 Path="/sample/d1" Incarnation=4097 Bytes=1099511627776 State=1}`,
		`map drive drive=3 {Node=257 Path="/sample/state/witness" Incarnation=4099 Bytes=1099511627776 State=1 Witness=true}`,
	},
	'K': {`setting name="colour" {value=626c7565}`},
	'N': {`name counter {last=6}`},
}

// reservedRows are named in the code and written by nobody yet.
const reservedRows = ""

// wantCommands has commands of the logs of both groups, by opcode, without their headers.
var wantCommands = map[byte][]string{
	1: {`OpenEpoch{Node=257}`},
	2: {`CloseEpochs{Node=257 Below=4}`},
	3: {`Condemn{Extents=[1.4.1 1.4.99]}`},
	4: {`CreateBucket{Bucket=1 Name="bucket"}`, `CreateBucket{Bucket=4 Name="locked" Lock=true}`},
	5: {`DeleteBucket{Bucket=2}`},
	6: {
		`Put{Bucket=1 Key="hello.txt" Data={Size=12 Inline=68656c6c6f2c206472697665} MD5=2cd1d71805e0fb7e71b4c27c9c8c198c Class="STANDARD" Attributes={` + plain +
			`} Checksum={Algorithm="CRC32C" Sum=01020304 Composite=true Parts=2} If={NoneMatch=["none"] NoneMatchAny=true} Tags=["first"="1" "second"=""]}`,
		`Put{Bucket=4 Key="by/default" Data={Size=3 Inline=6f6e65} MD5=f97c5d29941bfb1b2fdab0874906ab82 Class="STANDARD" Clock=1699996400123456789}`,
		`Put{Bucket=1 Key="folder/large" Data={Size=100000 Extents=[{ID=1.4.1 Redundancy={Data=1 Parity=1} Size=100000 Class="STANDARD" Drives=[1 2]}]} MD5=d40c2b33bacba4f3216c22daaecbd8a3 Class="STANDARD"}`,
		`Put{Bucket=1 Key="folder/old" Data={Size=3 Inline=6e6577} MD5=22af645d1859cb5ca6da0c484f1f37ea Class="STANDARD" If={Match=["eeea982e135dd79bd7b631d3383db652" "other"] MatchAny=true}}`,
	},
	7:  {`Delete{Bucket=3 Key="k" Version="0000000000000001"}`, `Delete{Bucket=1 Key="folder/fading" If={Match=["e18ff5fffbdbf95623cd2f252835004b"] Size=70000 ModifiedAt=2023-11-14T22:13:20Z}}`},
	24: {`SetBucketLock{Bucket=4 Lock={Enabled=true Mode=1 Days=7}}`},
	57: {`SetBucketQuota{Bucket=4 Quota={Bytes=1000 Objects=100}}`},
	25: {`SetLock{Bucket=4 Key="by/hand" Version="0000000000000003" SetHold=true Clock=1700000000123456789}`},
	26: {`Append{Bucket=5 Key="a/b/log" Offset=5 Sequence=1 Data={Size=3 Inline=74776f} MD5=b8a9f715dbb64fd5c56e7783c6820a61 Part={Algorithm="CRC32" Sum=01020304} If={MatchAny=true} Class="STANDARD"}`},
	27: {`Rename{Bucket=5 Key="a/c/log" From={Bucket=5 Key="a/b/log" If={NoneMatch=["x"]}} Token="token"}`},
	28: {`RenamePrefix{Bucket=5 From="a/c/" To="d/"}`},
	20: {`SetVersioning{Bucket=3 Versioning=1}`},
	21: {`SetTags{Bucket=3 Key="k" Version="0000000000000002" Tags=["late"="tag"]}`},
	23: {`Recode{Extent=1.4.4 Run=7 To={ID=1.4.98 Redundancy={Data=1 Parity=1} Size=5000 Class="STANDARD" Drives=[2 1]}}`},
	22: {`SetDocument{Bucket=3 Name="tagging" Value=3c54616767696e672f3e}`},
	8: {
		`StartUpload{Bucket=1 Key="upload/open" ID=` + idB + ` Class="STANDARD" Attributes={` + image + `} Algorithm="SHA256" Full=true Tags=["of"="upload"]}`,
		`StartUpload{Bucket=2 Key="never\x00done" ID=` + idE + ` Class="STANDARD"}`,
	},
	9: {
		`PutPart{Bucket=1 Key="upload/open" ID=` + idB + ` Number=1 Data={Size=5 Inline=6669727374} MD5=8b04d5e3775d298e78455efc5ca404d5 Checksum={Algorithm="SHA256" Sum=01}}`,
		`PutPart{Bucket=1 Key="upload/open" ID=` + idB + ` Number=10000 Data={Size=5000 Extents=[{ID=1.4.4 Redundancy={Data=1 Parity=1} Size=5000 Class="STANDARD" Drives=[1 2] Reduced=true}]} MD5=c5cc18f4b1784283a16ae31d2ac3b3d6}`,
	},
	10: {
		`CompleteUpload{Bucket=1 Key="upload/done" ID=` + idA + ` Parts=[{Number=1 Content=6} {Number=2 Content=7}] Size=18 Count=2 MD5=2318a082593f81a5f4be0b15f0a22842 Checksum={Algorithm="SHA256" Sum=09 Composite=true Parts=2} Clock=` + noon + `}`,
		`CompleteUpload{Bucket=1 Key="upload/staged" ID=` + idF + ` Staged=11 Size=22 Count=2 MD5=7d3686e169e28f502f97d79ba0e5b764 If={NoneMatchAny=true}}`,
	},
	11: {`AbortUpload{Bucket=1 Key="upload/aborted" ID=` + idD + `}`},
	18: {`Copy{Bucket=1 Key="copy" From={Bucket=1 Key="upload/done" Sequence=77 If={Match=["x"]}} Replace=true Attributes={ContentType="c/d"} Checksum={Algorithm="SHA1" Sum=08} If={NoneMatchAny=true} Class="OTHER" ReplaceTags=true Tags=["of"="copy"] Clock=` + noon + `}`},
	19: {`CopyPart{Bucket=1 Key="upload/open" ID=` + idB + ` Number=3 From={Bucket=1 Key="upload/done" Sequence=77 If={Match=["x"]}} Offset=5 Length=6 MD5=ac9f7584d3fd6d49faa7bcf5e1ebec1f Checksum={Algorithm="SHA256" Sum=07}}`},
	12: {`Stage{Bucket=1 ID=` + idF + ` Content=11 Parts=[{Number=2 Content=10}]}`},
	13: {`Forget{Index=10 Content=3 Extents=[1.4.2]}`},
	14: {`MoveShard{Extent=1.4.3 Index=1 From=2 To=9}`},
	15: {`ReportMissing{Extent=1.4.4 Index=1 Drive=2}`},
	16: {`SetDrive{Drive=8 Gone=true}`},
	17: {`ClearTrash{}`},
	40: {`RemovePrefix{Bucket=5 Prefix="e/"}`},
	41: {`RemoveBucket{Bucket=6}`},
	42: {`TakeApart{Bucket=6 Directory=9}`},
	32: {`ReserveBucket{Name="bucket" Group=1}`, `ReserveBucket{Name="locked" Group=1 Lock=true}`},
	33: {`SetBucket{Name="bucket" Bucket=1 From=1 To=2}`},
	34: {`MapDrive{Drive=3 Record={Node=257 Path="/sample/state/witness" Incarnation=4099 Bytes=1099511627776 State=1 Witness=true}}`},
	35: {`Setting{Name="colour" Value=626c7565}`},

	48: {`SetLeaving{Drive=9 Leaving=true Heir=2}`},
	49: {`RemoveDrive{Drive=9}`},
}

// wantRecords has records of the meta streams, by kind; of those of groups their first lines, and that of a first record of a generation.
var wantRecords = map[drive.RecordKind][]string{
	drive.RecordGroup: {
		"replica 1 generation 1 term 2 vote 1 commit 2 entries 1",
		"replica 0 generation 2 term 0 vote 0 commit 0 entries 0",
		"  makes its generation valid: applied to index 0 term 0, members",
		"  makes its generation valid: applied to index 116 term 2, members 1 on drive 1 2 on drive 2 400 on drive 3 (learner)",
	},
	drive.RecordShard:     {"shard 1.4.1/0 in segment 1 at 0, 100000 bytes", "shard 1.4.4/1 in segment 1 at 188416, 5000 bytes"},
	drive.RecordTombstone: {"deleted 1.4.2/0"},
	drive.RecordSegment:   {"segment 1 created, 262144 bytes", "segment 0 removed"},
}

// wantOthers has rows that are not the state machine's: the drive's own and the groups'. Those that
// say where in the meta stream something is are compared with the stream, see lookLog.
var wantOthers = []string{
	"shard 1.4.1/0 in segment 1 at 0, 100000 bytes, sums [bc82dfae9c002182 fd8c7e72a58d6656]",
	"segment 1 created, 262144 bytes",
	"group 0: generation 1 is valid, of replica 1",
	"group 1: generation 4 is valid, of replica 400",
	"group 1 generation 1 applied to index 125 term 2, members 1 on drive 1 2 on drive 2 400 on drive 3",
	"group 1 generation 1 hard state: term 2 vote 1",
}

// found is what a sample has.
type found struct {
	rows     map[engine.GroupID][]meta.Op // of the state machines, as they stand on the first drive
	commands map[byte][][]byte            // by opcode

	rowTexts     map[byte][]string // by the first byte of the key
	commandTexts map[byte][]string // by opcode, without the header
	recordTexts  map[drive.RecordKind][]string
	others       []string     // of rows that are not the state machine's
	own          map[byte]int // the drives' own rows, by the second byte of the key
}

// look reads all that the drives of a sample have.
func look(t *testing.T, root string) *found {
	t.Helper()
	s := &found{
		rows: map[engine.GroupID][]meta.Op{}, commands: map[byte][][]byte{},
		rowTexts: map[byte][]string{}, commandTexts: map[byte][]string{}, recordTexts: map[drive.RecordKind][]string{},
		own: map[byte]int{},
	}
	for i, folder := range allFolders {
		fsys, err := disk.OS(filepath.Join(root, folder))
		if err != nil {
			t.Fatal(err)
		}
		defer fsys.Close()
		if id, g, err := drive.Identify(fsys); err != nil || id != identities[i] || g != geometry {
			t.Errorf("the identity of %s is %+v, %+v, %v", folder, id, g, err)
		}
		possible := s.lookLog(t, fsys)
		openDrive(t, filepath.Join(root, folder), func(d *drive.Drive) { s.lookRows(t, d, possible, i == 0) })
	}
	return s
}

// lookLog notes the records of a meta stream, which has not come around yet, and returns what rows of the drive may say about it: at which
// frames a replay may begin, which records may be released, and of the mark, that it is the end.
func (s *found) lookLog(t *testing.T, fsys disk.FS) (possible map[string]bool) {
	possible = map[string]bool{}
	var end, next uint64
	for frame, err := range drive.Frames(fsys) {
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range frame.Records {
			texts := []string{r.Text}
			if r.Kind == drive.RecordGroup {
				texts = group.DescribeRecord(r.Payload, s.command)
			}
			s.recordTexts[r.Kind] = append(s.recordTexts[r.Kind], texts...)
			next = r.Sequence + 1
			possible[fmt.Sprintf("group %d released its records up to %d", r.Group, r.Sequence)] = r.Kind == drive.RecordGroup
		}
		possible[fmt.Sprintf("replay begins at %d", frame.Position)] = true
		end = frame.Position + uint64(frame.Bytes)
	}
	possible[fmt.Sprintf("records before %d are in the index, the next sequence is %d", end, next)] = true
	return possible
}

// command notes a command of the log and describes it.
func (s *found) command(b []byte) string {
	text, opcode := meta.Describe(b), b[meta.HeaderBytes+1]
	s.commands[opcode] = append(s.commands[opcode], b)
	_, rest, _ := strings.Cut(text, "Z ") // the end of the stamp
	s.commandTexts[opcode] = append(s.commandTexts[opcode], rest)
	return text
}

// lookRows notes the rows of a drive; those of the state machine of the first drive only, for they are the same everywhere.
func (s *found) lookRows(t *testing.T, d *drive.Drive, possible map[string]bool, first bool) {
	for row, err := range d.Rows() {
		if err != nil {
			t.Fatal(err)
		}
		text := rowText(row)
		if !row.Store {
			s.own[row.Key[1]]++
			if about := strings.ContainsRune("mtr", rune(row.Key[1])); about && !possible[text] || text == "unknown" {
				t.Errorf("row %q says %q", row.Key, text)
			}
		}
		if !isMachineRow(row) {
			s.others = append(s.others, text)
			continue
		}
		if !first {
			continue
		}
		id, key := engine.GroupID(row.Key[5]), row.Key[10:]
		s.rows[id] = append(s.rows[id], meta.Op{Key: key, Value: row.Value})
		s.rowTexts[key[0]] = append(s.rowTexts[key[0]], strings.TrimPrefix(text, fmt.Sprintf("group %d generation 1 ", id)))
	}
}

// isMachineRow reports whether a row belongs to a group's state machine: 01 'g' group generation, and a letter.
func isMachineRow(row drive.Row) bool {
	return len(row.Key) > 10 && row.Store && row.Key[1] == 'g' && row.Key[10] != 0
}

// TestMeaning compares what the newest sample says with what it should say.
func TestMeaning(t *testing.T) {
	s := look(t, unpack(t, newest))
	for kind, texts := range wantRows {
		wantTexts(t, fmt.Sprintf("rows %q", kind), s.rowTexts[kind], texts)
	}
	for opcode, texts := range wantCommands {
		wantTexts(t, fmt.Sprintf("commands %d", opcode), s.commandTexts[opcode], texts)
	}
	for kind, texts := range wantRecords {
		wantTexts(t, kind.String()+" records", s.recordTexts[kind], texts)
	}
	wantTexts(t, "other rows", s.others, wantOthers)
}

func wantTexts(t *testing.T, what string, got, want []string) {
	t.Helper()
	for _, text := range want {
		if !slices.Contains(got, text) {
			t.Errorf("among the %s of the sample there is no\n%s\nbut\n%s", what, text, strings.Join(got, "\n"))
		}
	}
}

// TestNothingIsMissing looks for every kind of row, opcode and kind of record that the code names, in the newest sample and in the tables above.
func TestNothingIsMissing(t *testing.T) {
	s := look(t, unpack(t, newest))
	rows := constants(t, "engine/meta/rows.go", "row", token.CHAR)
	opcodes := constants(t, "engine/meta/command.go", "op", token.INT)
	kinds := constants(t, "engine/drive/format.go", "Record", token.INT)
	if len(rows) < 25 || len(opcodes) < 27 || len(kinds) < 4 {
		t.Fatalf("%d rows, %d opcodes and %d kinds of record are named: the search is blind", len(rows), len(opcodes), len(kinds))
	}
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		key := byte(rows[name])
		present(t, fmt.Sprintf("row %q %s", key, name), len(s.rowTexts[key]), len(wantRows[key]), strings.ContainsRune(reservedRows, rune(key)))
	}
	for _, key := range []byte("mtrsg") {
		present(t, fmt.Sprintf("row 00 %q of a drive", key), s.own[key], 1, false)
	}
	for _, name := range slices.Sorted(maps.Keys(opcodes)) {
		opcode := byte(opcodes[name])
		present(t, fmt.Sprintf("opcode %d %s", opcode, name), len(s.commands[opcode]), len(wantCommands[opcode]), false)
	}
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		kind := drive.RecordKind(kinds[name])
		present(t, fmt.Sprintf("record %d %s", kind, name), len(s.recordTexts[kind]), len(wantRecords[kind]), false)
	}
}

func present(t *testing.T, what string, samples, texts int, reserved bool) {
	t.Helper()
	t.Logf("%-30s %4d in the sample, %d written out", what, samples, texts)
	if (samples == 0) != reserved || (texts == 0) != reserved {
		t.Errorf("%s: reserved is %t", what, reserved)
	}
}

// constants reads the named constants of a source file that have a prefix, an upper-case letter behind it, and a literal of a sort.
func constants(t *testing.T, file, prefix string, sort token.Token) map[string]int64 {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join("../..", file), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]int64{}
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		literal, ok := spec.Values[0].(*ast.BasicLit)
		rest, has := strings.CutPrefix(spec.Names[0].Name, prefix)
		if !ok || !has || literal.Kind != sort || rest == "" || rest[0] < 'A' || rest[0] > 'Z' || strings.HasSuffix(rest, "Format") {
			return true
		}
		value, err := number(literal)
		if err != nil {
			t.Fatal(err)
		}
		values[spec.Names[0].Name] = value
		return true
	})
	return values
}

func number(literal *ast.BasicLit) (int64, error) {
	if literal.Kind == token.INT {
		return strconv.ParseInt(literal.Value, 0, 64)
	}
	text, err := strconv.Unquote(literal.Value)
	if err != nil || len(text) != 1 {
		return 0, fmt.Errorf("%s is no byte", literal.Value)
	}
	return int64(text[0]), nil
}
