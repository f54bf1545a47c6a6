package group

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"go.etcd.io/raft/v3/raftpb"

	"holdfast/engine"
)

// The formats below are drawn in docs/format.md. Each begins with the format version.
const recordFormat = 1

var errRecord = errors.New("malformed bytes")

// Keys of the group's own rows; those of the state machine begin with a letter.
var (
	appliedKey  = []byte{0, 'a'} // → applied: travels in the batch of every apply
	hardKey     = []byte{0, 'h'} // → term and vote of this replica
	registryKey = []byte{0, 'r'} // → generation and replica, in the registry store
)

// storePrefix is where the rows of one generation of a replica are in its drive's index.
func storePrefix(group engine.GroupID, generation uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte{'g'}, uint32(group)), generation)
}

// registryPrefix is the store that says which generation of a group's rows is valid on the drive.
func registryPrefix(group engine.GroupID) []byte {
	return binary.BigEndian.AppendUint32([]byte{'r'}, uint32(group))
}

// Member is a replica of a group: its number, never used again in the group, and the drive that it lives on.
type Member struct {
	Replica uint64
	Drive   engine.DriveID
	Learner bool
}

// applied says how far the rows of a store go.
type applied struct {
	index, term uint64
	members     []Member
}

func (a *applied) encode() []byte {
	b := []byte{recordFormat}
	b = binary.AppendUvarint(b, a.index)
	b = binary.AppendUvarint(b, a.term)
	b = binary.AppendUvarint(b, uint64(len(a.members)))
	for _, m := range a.members {
		b = binary.AppendUvarint(b, m.Replica)
		b = binary.AppendUvarint(b, uint64(m.Drive))
		if m.Learner {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	return b
}

func decodeApplied(b []byte) (a applied, err error) {
	r := reader{b: b}
	r.format("the applied record")
	a.index, a.term = r.uint(), r.uint()
	n := r.uint()
	if n > uint64(len(r.b)) {
		return a, errRecord
	}
	for range n {
		a.members = append(a.members, Member{Replica: r.uint(), Drive: engine.DriveID(r.uint()), Learner: r.byte() == 1})
	}
	return a, r.end()
}

// confState is the configuration as raft wants it.
func (a *applied) confState() *raftpb.ConfState {
	c := &raftpb.ConfState{}
	for _, m := range a.members {
		if m.Learner {
			c.Learners = append(c.Learners, m.Replica)
		} else {
			c.Voters = append(c.Voters, m.Replica)
		}
	}
	return c
}

// registry names the valid generation on a drive.
type registry struct {
	generation uint32
	replica    uint64
}

func (g registry) encode() []byte {
	b := binary.AppendUvarint([]byte{recordFormat}, uint64(g.generation))
	return binary.AppendUvarint(b, g.replica)
}

func decodeRegistry(b []byte) (g registry, err error) {
	r := reader{b: b}
	r.format("the registry")
	generation := r.uint()
	g.generation, g.replica = uint32(generation), r.uint()
	if generation > 1<<32-1 {
		return g, errRecord
	}
	return g, r.end()
}

func encodeHard(term, vote uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint([]byte{recordFormat}, term), vote)
}

func decodeHard(b []byte) (term, vote uint64, err error) {
	r := reader{b: b}
	r.format("the hard state")
	term, vote = r.uint(), r.uint()
	return term, vote, r.end()
}

// logRecord is one append to a replica's log: its hard state, what it begins with if it begins here, and entries. On the drive:
// format, 0 or 1, generation, replica, term, vote, commit index; after a 1 the length of an applied record and that record; the number of
// entries, and for each its type, index, term and length of data; then all data. Numbers are varints.
//
// A record with a base makes its generation valid: the rows of that generation are flushed. Replica 0 says that the drive has no
// replica of the group any more.
type logRecord struct {
	registry
	term, vote uint64
	commit     uint64 // entries known to be decided: they are applied before an election, so that the configuration is not an old one
	base       *applied
	entries    []*raftpb.Entry
}

// head returns the part of the record that differs between replicas; encodeEntries has the rest.
func (l *logRecord) head() []byte {
	b := []byte{recordFormat, 0}
	for _, v := range []uint64{uint64(l.generation), l.replica, l.term, l.vote, l.commit} {
		b = binary.AppendUvarint(b, v)
	}
	if l.base != nil {
		b[1] = 1
		base := l.base.encode()
		b = append(binary.AppendUvarint(b, uint64(len(base))), base...)
	}
	return b
}

// parts returns the record in pieces; the data of the entries is not copied.
func (l *logRecord) parts() [][]byte { return encodeEntries([][]byte{l.head()}, l.entries) }

// encodeEntries appends the entries to parts, in pieces.
func encodeEntries(parts [][]byte, entries []*raftpb.Entry) [][]byte {
	head := binary.AppendUvarint(make([]byte, 0, 2+12*len(entries)), uint64(len(entries)))
	at := len(parts)
	parts = append(parts, nil)
	for _, e := range entries {
		for _, v := range []uint64{uint64(e.GetType()), e.GetIndex(), e.GetTerm(), uint64(len(e.GetData()))} {
			head = binary.AppendUvarint(head, v)
		}
		if len(e.GetData()) > 0 {
			parts = append(parts, e.GetData())
		}
	}
	parts[at] = head
	return parts
}

func decodeLogRecord(b []byte) (l logRecord, err error) {
	r := reader{b: b}
	r.format("the record")
	based := r.byte()
	generation := r.uint()
	if generation > 1<<32-1 || based > 1 {
		return l, errRecord
	}
	l.generation = uint32(generation)
	l.replica, l.term, l.vote, l.commit = r.uint(), r.uint(), r.uint(), r.uint()
	if based == 1 {
		base, err := decodeApplied(r.bytes(r.uint()))
		if err != nil {
			return l, err
		}
		l.base = &base
	}
	n := r.uint()
	if n > uint64(len(r.b)) {
		return l, errRecord
	}
	lengths := make([]uint64, 0, n)
	for range n {
		kind := raftpb.EntryType(r.uint())
		index, term := r.uint(), r.uint()
		lengths = append(lengths, r.uint())
		l.entries = append(l.entries, &raftpb.Entry{Type: &kind, Index: &index, Term: &term})
	}
	for i, length := range lengths {
		if length > 0 {
			l.entries[i].Data = r.bytes(length)
		}
	}
	return l, r.end()
}

// DescribeRecord returns a record of a group's log in words, one line for the record and one for each entry, for people who look
// into a drive. Command describes the data of an entry.
func DescribeRecord(payload []byte, command func([]byte) string) []string {
	l, err := decodeLogRecord(payload)
	if err != nil {
		return []string{fmt.Sprintf("%d bytes: %v", len(payload), err)}
	}
	lines := []string{fmt.Sprintf("replica %d generation %d term %d vote %d commit %d entries %d", l.replica, l.generation, l.term, l.vote, l.commit, len(l.entries))}
	if l.base != nil {
		lines = append(lines, "  makes its generation valid: "+l.base.text())
	}
	for _, e := range l.entries {
		what := e.GetType().String()
		if e.GetType() == raftpb.EntryNormal && len(e.GetData()) > 0 {
			what = command(e.GetData())
		}
		lines = append(lines, fmt.Sprintf("  index %d term %d %s", e.GetIndex(), e.GetTerm(), what))
	}
	return lines
}

func (a *applied) text() string {
	s := fmt.Sprintf("applied to index %d term %d, members", a.index, a.term)
	for _, m := range a.members {
		s += fmt.Sprintf(" %d on drive %d", m.Replica, m.Drive)
		if m.Learner {
			s += " (learner)"
		}
	}
	return s
}

// DescribeRow returns a row of a drive's store in words, for people who look into a drive. Key begins with the store's prefix; row describes the
// rows of the state machine.
func DescribeRow(key, value []byte, row func(key, value []byte) (string, error)) (string, error) {
	switch {
	case len(key) == 7 && key[0] == 'r' && bytes.Equal(key[5:], registryKey):
		g, err := decodeRegistry(value)
		return fmt.Sprintf("group %d: generation %d is valid, of replica %d", binary.BigEndian.Uint32(key[1:]), g.generation, g.replica), err
	case len(key) < 9 || key[0] != 'g':
		return "", fmt.Errorf("a row of no store: %w", errRecord)
	}
	text, err := describeGroupRow(key[9:], value, row)
	return fmt.Sprintf("group %d generation %d %s", binary.BigEndian.Uint32(key[1:]), binary.BigEndian.Uint32(key[5:]), text), err
}

func describeGroupRow(key, value []byte, row func(key, value []byte) (string, error)) (string, error) {
	switch {
	case bytes.Equal(key, appliedKey):
		a, err := decodeApplied(value)
		return a.text(), err
	case bytes.Equal(key, hardKey):
		term, vote, err := decodeHard(value)
		return fmt.Sprintf("hard state: term %d vote %d", term, vote), err
	}
	return row(key, value)
}

// reader takes varints; after the first malformed one, and in a later version, everything is zero and end tells.
type reader struct {
	b   []byte
	bad bool
	err error // of a later version
}

func (r *reader) format(what string) {
	switch v := r.byte(); {
	case v > recordFormat:
		r.b, r.err = nil, engine.Newer(what, uint64(v), recordFormat)
	case v < recordFormat:
		r.bad = true
	}
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) end() error {
	if r.err != nil {
		return r.err
	}
	if r.bad || len(r.b) > 0 {
		return errRecord
	}
	return nil
}
