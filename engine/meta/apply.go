// Package meta is the deterministic state machine of a group: buckets as trees of entries, versions and inodes, contents as
// reference-counted runs, extents and where their shards are, uploads, garbage, epochs and answers; in the root group the
// directory of buckets and the cluster map. It also reads what it wrote: Lookup, List and their kin.
//
// Promise: the same commands in the same order make the same rows, whatever machine applies them and however they are cut into
// batches; a command either does all it says or nothing; a command is applied at most once, however often it is repeated.
//
// It has no goroutine, no clock and no disk, and does not know how commands come to be ordered (engine/group) or who sends them
// (engine/coordinator, engine/repair).
package meta

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"

	"holdfast/engine"
)

// Machine applies a group's commands.
type Machine struct {
	Group engine.GroupID
}

// Apply applies committed entries in order and returns an answer for each, nil for an empty entry. An error is one of the store, or
// engine.ErrNewer: then nothing may be kept of the view.
func (m *Machine) Apply(view *Overlay, entries []Entry) (answers [][]byte, err error) {
	a := apply{view: view, group: m.Group, epochs: map[uint64]*epochRow{}}
	defer func() {
		if r := recover(); r != nil {
			failure, ok := r.(storeError)
			if !ok {
				panic(r)
			}
			answers, err = nil, failure.err
		}
	}()
	a.mustLoad(key8(rowGroup, 0), &a.counters)
	answers = make([][]byte, len(entries))
	for i := range entries {
		if len(entries[i].Data) > 0 {
			answers[i] = a.entry(&entries[i])
		}
	}
	view.Set(key8(rowGroup, 0), a.counters.encode())
	for id, epoch := range a.epochs {
		if epoch != nil {
			view.Set(key8(rowEpoch, id), epoch.encode())
		}
	}
	return answers, nil
}

// Check returns engine.ErrNewer if a later version has applied commands to the rows, or wrote one of the entries that follow them.
func (m *Machine) Check(rows Reader, entries []Entry) error {
	if _, err := load(rows, key8(rowGroup, 0), new(groupRow)); err != nil {
		return err
	}
	for i := range entries {
		if _, _, _, err := parseCommand(entries[i].Data); errors.Is(err, engine.ErrNewer) {
			return fmt.Errorf("entry %d: %w", entries[i].Index, err)
		}
	}
	return nil
}

// storeError carries an error of the store out of the depth of a command; Apply recovers it.
type storeError struct{ err error }

// apply is one batch being applied.
type apply struct {
	view     *Overlay
	group    engine.GroupID
	counters groupRow
	epochs   map[uint64]*epochRow // written back at the end of the batch; nil: there is no such epoch

	header Header // of the command at hand, its stamp made monotonic
	index  uint64
	noted  []*noted // changes that the command makes of buckets that somebody follows
}

func (a *apply) mustLoad(key []byte, r row) bool {
	ok, err := load(a.view, key, r)
	if err != nil {
		panic(storeError{err})
	}
	return ok
}

func (a *apply) has(key []byte) bool {
	value, ok, err := a.view.Get(key)
	if ok && err == nil {
		err = checkVersion(key, value)
	}
	if err != nil {
		panic(storeError{err})
	}
	return ok
}

// each calls f for the rows under prefix until it returns false.
func (a *apply) each(prefix []byte, f func(key, value []byte) bool) {
	it := a.view.Iterate(prefix, after(prefix))
	var newer error
	for it.Next() {
		if newer = checkVersion(it.Key(), it.Value()); newer != nil || !f(it.Key(), it.Value()) {
			break
		}
	}
	if err := cmp.Or(it.Close(), newer); err != nil {
		panic(storeError{err})
	}
}

// stepsMax is how many rows loadEach passes on its way to the next key before it searches for it.
const stepsMax = 8

// loadEach calls f with the row of each key, nil where there is none. The keys ascend. It walks over what lies between, so that many rows that lie
// close together cost a fraction of as many searches.
func loadEach[R any, P interface {
	*R
	row
}](a *apply, keys [][]byte, f func(i int, r P)) {
	if len(keys) == 0 {
		return
	}
	it := a.view.Iterate(keys[0], append(bytes.Clone(keys[len(keys)-1]), 0))
	valid := it.Next()
	var malformed error
	for i := 0; i < len(keys) && malformed == nil; i++ {
		key := keys[i]
		for steps := 0; valid && bytes.Compare(it.Key(), key) < 0; steps++ {
			if steps < stepsMax {
				valid = it.Next()
			} else {
				valid = it.SeekGE(key)
			}
		}
		r := P(nil)
		if valid && bytes.Equal(it.Key(), key) {
			r = new(R)
			malformed = parse(key, it.Value(), r)
		}
		if malformed == nil {
			f(i, r)
		}
	}
	if err := cmp.Or(it.Close(), malformed); err != nil {
		panic(storeError{err})
	}
}

// entry applies one command, or finds the answer that it had before.
func (a *apply) entry(entry *Entry) []byte {
	header, confirmed, command, err := parseCommand(entry.Data)
	if errors.Is(err, engine.ErrNewer) {
		panic(storeError{fmt.Errorf("entry %d: %w", entry.Index, err)}) // applied by a later version, the rows would be others
	}
	if err != nil {
		return failed(engine.KindInternal, "the group's log has a malformed command at index %d", entry.Index).encode()
	}
	a.counters.stamp = max(a.counters.stamp, header.Stamp)
	header.Stamp = a.counters.stamp
	a.header, a.index = header, entry.Index
	if header.Epoch == 0 {
		if open, ok := command.(*OpenEpoch); ok {
			return a.openEpoch(open).encode()
		}
		return failed(engine.KindInternal, "a command without an epoch").encode()
	}
	epoch := a.epoch(header.Epoch)
	switch {
	case epoch == nil || epoch.closed:
		return failed(engine.KindUnavailable, "epoch %d is closed; its writer must open a new one", header.Epoch).encode()
	case header.Number < epoch.confirmed:
		return failed(engine.KindInternal, "command %d of epoch %d was confirmed before", header.Number, header.Epoch).encode()
	}
	answerKey := key16(rowAnswer, header.Epoch, header.Number)
	if answer, ok, err := a.view.Get(answerKey); err != nil {
		panic(storeError{err})
	} else if ok {
		return answer
	}
	answer := a.execute(command).encode()
	a.view.Set(answerKey, answer)
	a.confirm(epoch, confirmed)
	return answer
}

func (a *apply) epoch(id uint64) *epochRow {
	epoch, ok := a.epochs[id]
	if !ok {
		epoch = new(epochRow)
		if !a.mustLoad(key8(rowEpoch, id), epoch) {
			epoch = nil
		}
		a.epochs[id] = epoch
	}
	return epoch
}

// confirm forgets the answers that the writer will not ask for again.
func (a *apply) confirm(epoch *epochRow, confirmed uint64) {
	for number := epoch.confirmed; number < confirmed; number++ {
		a.view.Delete(key16(rowAnswer, a.header.Epoch, number))
	}
	epoch.confirmed = max(epoch.confirmed, confirmed)
}

// execute applies a command, and notes what it changed of buckets that somebody follows.
func (a *apply) execute(command Command) *Answer {
	answer := a.perform(command)
	a.keepNotes(answer)
	return answer
}

func (a *apply) perform(command Command) *Answer {
	switch c := command.(type) {
	case *Put:
		return a.withinQuota(c.Bucket, func() *Answer { return a.put(c) })
	case *Copy:
		return a.withinQuota(c.Bucket, func() *Answer { return a.copy(c) })
	case *CopyPart:
		return a.copyPart(c)
	case *SetVersioning:
		return a.setVersioning(c)
	case *SetTags:
		return a.setTags(c)
	case *SetDocument:
		return a.setDocument(c)
	case *SetBucketQuota:
		return a.setBucketQuota(c)
	case *SetBucketLock:
		return a.setBucketLock(c)
	case *SetLock:
		return a.setLock(c)
	case *Append:
		return a.withinQuota(c.Bucket, func() *Answer { return a.append(c) })
	case *Rename:
		return a.rename(c)
	case *MakeFile:
		return a.withinQuota(c.At.Bucket, func() *Answer { return a.makeFile(c) })
	case *LinkFile:
		return a.withinQuota(c.At.Bucket, func() *Answer { return a.linkFile(c) })
	case *RemoveFile:
		return a.removeFile(c)
	case *MoveFile:
		return a.moveFile(c)
	case *SetFile:
		return a.setFile(c)
	case *SetXattr:
		return a.setXattr(c)
	case *PatchFile:
		return a.withinQuota(c.File.Bucket, func() *Answer { return a.patchFile(c) })
	case *OpenOwner:
		return a.openOwner(c)
	case *RenewOwner:
		return a.renewOwner(c)
	case *CloseOwner:
		return a.closeOwner(c)
	case *HoldFile:
		return a.holdFile(c)
	case *LockFile:
		return a.lockFile(c)
	case *RenamePrefix:
		return a.renamePrefix(c)
	case *Delete:
		return a.delete(c)
	case *StartUpload:
		return a.startUpload(c)
	case *PutPart:
		return a.putPart(c)
	case *CompleteUpload:
		return a.completeUpload(c)
	case *AbortUpload:
		return a.abortUpload(c)
	case *Stage:
		return a.stage(c)
	case *CreateBucket:
		return a.createBucket(c)
	case *DeleteBucket:
		return a.deleteBucket(c)
	case *CloseEpochs:
		return a.closeEpochs(c)
	case *Condemn:
		return a.condemn(c)
	case *Forget:
		return a.forget(c)
	case *Recode:
		return a.recode(c)
	case *MoveShard:
		return a.moveShard(c)
	case *ReportMissing:
		return a.reportMissing(c)
	case *SetDrive:
		return a.setDrive(c)
	case *ClearTrash:
		return a.clearTrash()
	case *RemovePrefix:
		return a.removePrefix(c)
	case *RemoveBucket:
		return a.removeBucket(c)
	case *TakeApart:
		return a.takeApart(c)
	case *OpenCursor:
		return a.openCursor(c)
	case *MoveCursor:
		return a.moveCursor(c)
	case *TrimFeed:
		return a.trimFeed(c)
	case *Compact:
		return a.compact(c)
	case *Settle:
		return a.settle(c)
	case *ReserveBucket:
		return a.reserveBucket(c)
	case *SetBucket:
		return a.setBucket(c)
	case *MapDrive:
		a.view.Set(key8(rowMapDrive, uint64(c.Drive)), c.Record.encode())
		return &Answer{}
	case *Setting:
		return a.setting(c)

	case *SetLeaving:
		return a.setLeaving(c)
	case *RemoveDrive:
		return a.removeDrive(c)
	}
	panic(fmt.Sprintf("meta: command %T has no effect", command))
}

func failed(kind engine.Kind, format string, args ...any) *Answer {
	return &Answer{Failed: true, Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// openEpoch gives an epoch the index of its own entry as number, which no other has.
func (a *apply) openEpoch(c *OpenEpoch) *Answer {
	a.epochs[a.index] = &epochRow{node: c.Node, confirmed: 1}
	a.view.Set(key8(rowEpoch, a.index), a.epochs[a.index].encode())
	return &Answer{Epoch: a.index}
}

// closeEpochs fences a node's former writers. What they staged becomes garbage, what they condemned cannot come any more.
func (a *apply) closeEpochs(c *CloseEpochs) *Answer {
	var ids []uint64
	a.each([]byte{rowEpoch}, func(key, value []byte) bool {
		d := decoder{b: key[1:]}
		ids = append(ids, d.fixed())
		return true
	})
	for _, id := range ids {
		epoch := a.epoch(id)
		if epoch == nil || epoch.node != c.Node || epoch.closed || id >= c.Below {
			continue
		}
		epoch.closed = true
		a.deleteAll(key8(rowAnswer, id))
		a.deleteAll(extentKey(rowCondemned, engine.ExtentID{Group: a.group, Epoch: id})[:1+12])
		a.each(key8(rowStaged, id), func(key, _ []byte) bool {
			d := decoder{b: key[9:]}
			a.release(d.fixed())
			return true
		})
		a.deleteAll(key8(rowStaged, id))
	}
	return &Answer{}
}

func (a *apply) deleteAll(prefix []byte) {
	var keys [][]byte
	a.each(prefix, func(key, _ []byte) bool {
		keys = append(keys, append([]byte(nil), key...))
		return true
	})
	for _, key := range keys {
		a.view.Delete(key)
	}
}

// condemn promises that extents without a content will never have one.
func (a *apply) condemn(c *Condemn) *Answer {
	answer := &Answer{Used: make([]bool, len(c.Extents))}
	for i, id := range c.Extents {
		answer.Used[i] = a.has(extentKey(rowExtent, id))
		if !answer.Used[i] {
			a.view.Set(extentKey(rowCondemned, id), []byte{rowFormat})
		}
	}
	return answer
}
