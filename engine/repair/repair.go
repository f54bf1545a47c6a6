// Package repair keeps what is stored as safe as it should be: it makes missing shards again, moves those of drives that are out or leave to
// others, collects garbage that nobody reads any more, takes apart what was thrown away, forgets changes that every follower has seen, makes the pieces of
// patched files fewer, has drives empty segments in which little is left, sweeps shards that no command names, and reads every shard now and then, so that
// damage is found before it is too much.
//
// Promise: nothing is deleted because a drive lacks something. A shard is deleted only when its content is garbage that no reader can see, or when
// its writer's epoch is closed or its extent has its row, and the group's state, read after whatever could place it there was decided, does not.
//
// It knows groups and drives, and nothing of objects.
package repair

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/engine"
	"holdfast/engine/drive"
	"holdfast/engine/extent"
	"holdfast/engine/group"
	"holdfast/engine/meta"
	"holdfast/observe"
)

// Drives are the drives of the node as the keepers see them.
type Drives interface {
	extent.Stores
	// Spare returns a drive that takes shards, beside those excluded.
	Spare(exclude []engine.DriveID) (engine.DriveID, bool)
	// Successor returns a drive for a shard that was on from: the one that takes from's place, or else a spare one, and none of those excluded.
	Successor(from engine.DriveID, exclude []engine.DriveID) (engine.DriveID, bool)
	// Leaving lists the drives that leave, by a committed command: they take no shards, and those that they have are to go to others.
	Leaving() []engine.DriveID
	// Staying returns how many drives do not leave, be they in or out.
	Staying() int
	// Out reports whether a drive takes no shards, by a committed command.
	Out(drive engine.DriveID) bool
	// Gone reports whether a drive is out for good.
	Gone(drive engine.DriveID) bool
	// Away lists the drives that are out.
	Away() []engine.DriveID
	// Widen chooses drives for an extent of a class that is to have all the parity of its class; ok is false while there are too few.
	Widen(class engine.StorageClass, bytes int64) (r engine.Redundancy, drives []engine.DriveID, ok bool)
	// Shards lists up to max shards on a drive after one, for the sweep; ok is false if the drive is not at hand.
	Shards(drive engine.DriveID, after engine.ShardID, max int) (list []Found, ok bool, err error)
	// All lists the drives that are at hand.
	All() []engine.DriveID
	// Held returns how many bytes the shards of a drive take; 0 if it is not at hand.
	Held(drive engine.DriveID) int64
	// Compact returns a compaction of a drive's segments; nil if none is worth it, or the drive is not at hand.
	Compact(drive engine.DriveID) *drive.Compaction
}

// Found is a shard that a drive lists. Lost says that the drive knows it and has its bytes no more.
type Found struct {
	ID   engine.ShardID
	Lost bool
}

// Config is what a Keeper is made of.
type Config struct {
	Writer *group.Writer
	Drives Drives
	// OldestPin bounds the garbage that may be collected, see coordinator.OldestPin.
	OldestPin func(index uint64) uint64
	// Source describes an extent to readers.
	Source func(*meta.Extent) (extent.Source, error)
	Logger *slog.Logger
	// Interval is the longest that the keeper rests while nobody wakes it; 0 means 10 s.
	Interval time.Duration
	// OwnerExpiry is how long an owner lives that nobody renews; 0 means engine.OwnerExpiry.
	OwnerExpiry time.Duration
	// MoveRate bounds the bytes that are moved off drives that leave in a second; 0 means 64 MiB.
	MoveRate int64
	// CompactRate bounds the bytes that are moved out of sparse segments of a drive in a second; 0 means 32 MiB.
	CompactRate int64
	// FeedHistory is how many changes of a bucket are kept for followers that are behind; 0 means the constant of that name.
	FeedHistory uint64
	// CompactEagerly makes the keeper compact every file that was patched as far as it can be; for tests.
	CompactEagerly bool
	Scrub          ScrubConfig
}

// Stats count what a Keeper has done since it was started.
type Stats struct {
	ShardsRebuilt  uint64 `json:"shards_rebuilt"`
	ShardsFailed   uint64 `json:"shards_failed"` // attempts that failed; they are made again
	ContentsFreed  uint64 `json:"contents_freed"`
	Collections    uint64 `json:"collections"` // how often nothing was left that no reader sees any more
	ShardsSwept    uint64 `json:"shards_swept"`
	SweepsComplete uint64 `json:"sweeps_complete"`
	ExtentsWidened uint64 `json:"extents_widened"` // written anew with the parity of their class
	Reported       uint64 `json:"shards_reported"` // by readers, who found them missing or rotten
	ShardsScrubbed uint64 `json:"shards_scrubbed"`
	BytesScrubbed  uint64 `json:"bytes_scrubbed"`
	ScrubDamaged   uint64 `json:"shards_scrubbed_damaged"` // that the scrub found missing or rotten
	ScrubsComplete uint64 `json:"scrubs_complete"`         // passes over a drive
	OwnersExpired  uint64 `json:"owners_expired"`          // of open files, that nobody renewed
	ShardsMoved    uint64 `json:"shards_moved"`            // off drives that leave
	BytesMoved     uint64 `json:"bytes_moved"`
	// VersionsTakenApart are those of removed prefixes and buckets, delete markers included.
	VersionsTakenApart uint64 `json:"versions_taken_apart"`
	ChangesForgotten   uint64 `json:"changes_forgotten"` // that every follower had passed, or that were beyond the budget
	CursorsLost        uint64 `json:"cursors_lost"`      // whose followers were too far behind
	// FilesCompacted is how often a file in many pieces was made to lie in fewer: in RunsBefore altogether at first, and in RunsAfter then.
	FilesCompacted uint64 `json:"files_compacted"`
	RunsBefore     uint64 `json:"runs_before_compaction"`
	RunsAfter      uint64 `json:"runs_after_compaction"`
	BytesCompacted uint64 `json:"bytes_compacted"` // written anew for that
	// SegmentsCompacted is how many segments of drives were emptied, so that their files go.
	SegmentsCompacted uint64 `json:"segments_compacted"`
	ShardsGathered    uint64 `json:"shards_gathered"` // moved out of those segments, on their drives
	BytesGathered     uint64 `json:"bytes_gathered"`
}

// The steps of the keepers that the recorder knows.
var (
	stepCollect = observe.NewStep("repair: a deleted content's shards are deleted")
	stepRebuild = observe.NewStep("repair: a shard is made again")
	stepSweep   = observe.NewStep("repair: shards that no command placed are looked for")
	stepWiden   = observe.NewStep("repair: an extent with less parity is written anew")
)

// Keeper runs the keepers of one group.
type Keeper struct {
	config Config
	wake   chan struct{}
	cancel context.CancelFunc
	done   sync.WaitGroup
	scrubs *scrubs
	pacer  pacer // of moves

	// turn is held for a pass, moves, a sweep, or while a range of a file is written anew: what one has written and not committed yet, another would take for stray, and
	// what one reads, another may move or collect.
	turn sync.Mutex

	scattered meta.ScatteredFile // the last that was looked at; runCompact's own, as are:
	runsLeft  uint64             // of the file that was last written to
	// expanded has files of which nested contents were taken in. Their former contents go on naming the same pieces until they are collected, which are
	// garbage since the index at most; until then the pieces look like shared ones.
	expanded map[meta.ScatteredFile]uint64

	mu      sync.Mutex // guards all below
	stats   Stats
	damaged map[damage]origin
	full    bool                    // that many wait that others were dropped, and that was logged
	failed  map[engine.ShardID]bool // shards whose failure to be made again was logged
	swept   bool                    // no drive has come in since the last sweep
	widened bool                    // nor since no extent has less parity than it could
}

type damage struct {
	id    engine.ShardID
	drive engine.DriveID
}

// origin is where a report comes from.
type origin byte

const (
	fromReader origin = iota // or from the scrub, who read the extent's row: where there is none any more, nothing is left to repair
	fromSweep                // of a shard whose extent had no row yet
)

// damagedMax bounds the reports that wait; more are found again by the next reader, or the next sweep.
const damagedMax = 10000

// Start starts the keepers.
func Start(config Config) *Keeper {
	if config.Interval == 0 {
		config.Interval = 10 * time.Second
	}
	if config.MoveRate == 0 {
		config.MoveRate = moveRate
	}
	if config.CompactRate == 0 {
		config.CompactRate = compactRate
	}
	ctx, cancel := context.WithCancel(context.Background())
	k := &Keeper{config: config, wake: make(chan struct{}, 1), cancel: cancel, damaged: map[damage]origin{}, expanded: map[meta.ScatteredFile]uint64{}}
	k.pacer.rate = config.MoveRate
	k.scrubs = newScrubs(k)
	k.done.Go(func() { k.run(ctx) })
	k.done.Go(func() { k.runTrash(ctx) })
	k.done.Go(func() { k.runCompact(ctx) })
	k.done.Go(func() { k.runSegments(ctx) })
	k.scrubs.look(ctx)
	k.done.Go(func() { k.scrubs.run(ctx) })
	k.done.Go(func() { k.watchOwners(ctx) })
	k.done.Go(func() { k.watchFeeds(ctx) })
	return k
}

// Close stops the keepers and waits for them.
func (k *Keeper) Close() {
	k.cancel()
	k.done.Wait()
}

// Wake makes the keepers look for work now.
func (k *Keeper) Wake() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Damaged reports a shard that could not be read from the drive that should have it; true if that is news.
func (k *Keeper) Damaged(id engine.ShardID, drive engine.DriveID) bool {
	fresh := k.note(damage{id, drive}, fromReader)
	if fresh {
		k.count(func(s *Stats) { s.Reported++ })
		k.Wake()
	}
	return fresh
}

// note keeps a report for the next pass; false if it is known, or there are too many.
func (k *Keeper) note(d damage, from origin) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, known := k.damaged[d]; known {
		return false
	}
	if len(k.damaged) >= damagedMax {
		if from == fromSweep {
			k.swept = false
		}
		if !k.full {
			k.config.Logger.Warn("more shards are reported than wait at once; the next reader reports those again that are dropped now", "waiting", damagedMax)
		}
		k.full = true
		return false
	}
	k.damaged[d] = from
	return true
}

// CameIn says that a drive takes shards again: what was moved off it meanwhile is still there, and is looked for.
func (k *Keeper) CameIn() {
	k.mu.Lock()
	k.swept, k.widened = false, false
	k.mu.Unlock()
	k.Wake()
	select {
	case k.scrubs.news <- struct{}{}:
	default:
	}
}

// Stats returns the counters.
func (k *Keeper) Stats() Stats {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stats
}

func (k *Keeper) count(f func(*Stats)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f(&k.stats)
}

func (k *Keeper) run(ctx context.Context) {
	timer, moves := time.NewTimer(0), time.NewTimer(0)
	defer timer.Stop()
	defer moves.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-moves.C:
			k.moveTurn(ctx, moves)
			continue
		case <-timer.C:
		case <-k.wake:
		}
		k.pass(ctx)
		timer.Reset(k.config.Interval)
		moves.Reset(0)
	}
}

// moveTurn moves what there is credit for, and collects what the moves and their like made garbage: a drive that leaves may wait for that alone.
func (k *Keeper) moveTurn(ctx context.Context, next *time.Timer) {
	if len(k.config.Drives.Leaving()) == 0 {
		return
	}
	k.turn.Lock()
	defer k.turn.Unlock()
	after, err := k.move(ctx)
	if err == nil {
		err = k.collect(ctx)
	}
	if err != nil && ctx.Err() == nil {
		k.config.Logger.Warn("a keeper will try again", "error", err)
		after = moveRest
	}
	if after > 0 {
		next.Reset(after)
	}
}

// pass does what there is to be done.
func (k *Keeper) pass(ctx context.Context) {
	k.turn.Lock()
	defer k.turn.Unlock()
	for _, f := range []func(context.Context) error{k.report, k.repairMissing, k.repairAway, k.widenOnce, k.collect, k.sweepOnce} {
		if err := f(ctx); err != nil && ctx.Err() == nil {
			k.config.Logger.Warn("a keeper will try again", "error", err)
		}
	}
}

func (k *Keeper) view(ctx context.Context) (*group.View, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return k.config.Writer.Group().Read(ctx)
}

func (k *Keeper) do(ctx context.Context, c meta.Command) (meta.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	answer, _, err := k.config.Writer.Do(ctx, c)
	return answer, err
}

// report records reported shards as missing, after a look of its own: the report may be about a state that has passed. Where the look tells
// nothing, because the drive or the group does not answer now, the report waits for the next pass.
func (k *Keeper) report(ctx context.Context) error {
	k.mu.Lock()
	reports := k.damaged
	k.damaged, k.full = map[damage]origin{}, false
	k.mu.Unlock()
	var failed error
	for d, from := range reports {
		became, err := k.reportOne(ctx, d, from)
		failed = cmp.Or(failed, err)
		if became == unclear {
			k.note(d, from)
		}
	}
	return failed
}

// verdict is what a look at a reported shard came to.
type verdict byte

const (
	unclear  verdict = iota // it tells nothing; a later one may
	sound                   // the shard is whole, or nobody needs it there
	recorded                // as missing
)

func (k *Keeper) reportOne(ctx context.Context, d damage, from origin) (verdict, error) {
	store := k.config.Drives.Store(d.drive)
	if store == nil {
		return sound, nil // the whole drive is away, and known to be
	}
	view, err := k.view(ctx)
	if err != nil {
		return unclear, err
	}
	x, err := meta.LoadExtent(view, d.id.Extent)
	if err == meta.ErrAbsent {
		later := false
		if err = nil; from == fromSweep {
			later, err = k.mayCome(view, d)
		}
		_ = view.Close() // a snapshot that was only read
		if later || err != nil {
			return unclear, err
		}
		return sound, nil
	}
	used := true
	if err == nil {
		used, err = meta.InUse(view, x)
	}
	_ = view.Close() // a snapshot that was only read
	switch {
	case err != nil:
		return unclear, err
	case !used:
		return sound, nil
	}
	source, err := k.config.Source(x)
	if err != nil {
		return sound, err
	}
	err = readWhole(ctx, store, d.id, source.Code.ShardBytes(x.Size))
	switch {
	case err == nil:
		return sound, nil
	case !lost(err):
		return unclear, nil
	}
	_, err = k.do(ctx, &meta.ReportMissing{Extent: d.id.Extent, Index: int(d.id.Index), Drive: d.drive})
	switch {
	case engine.Is(err, engine.KindConflict):
		return sound, nil // it is no longer there that it should be
	case err != nil:
		return unclear, err
	}
	return recorded, nil
}

// mayCome reports whether a command may be on the way that makes the extent of a shard: its writer's epoch is open, and nobody has had the drive
// delete the shard.
func (k *Keeper) mayCome(view meta.View, d damage) (bool, error) {
	open, err := meta.Epochs(view)
	if _, isOpen := open[d.id.Extent.Epoch]; !isOpen || err != nil {
		return false, err
	}
	list, ok, err := k.config.Drives.Shards(d.drive, before(d.id), 1)
	return ok && len(list) > 0 && list[0].ID == d.id, err
}

// before returns the greatest id that is less than id.
func before(id engine.ShardID) engine.ShardID {
	if id.Index > 0 {
		id.Index--
		return id
	}
	id.Extent.Counter-- // the first extent has 1
	id.Index = 0xff
	return id
}

// repairBatch is how many extents are looked up at a time.
const repairBatch = 256

// repairMissing makes the shards again that rows record as missing, those of the most endangered extents first. Those of which none can be made
// are passed over, so that they keep nobody else waiting.
func (k *Keeper) repairMissing(ctx context.Context) error {
	for after := ""; ; {
		view, err := k.view(ctx)
		if err != nil {
			return err
		}
		ids, last, err := meta.ListMissing(view, after, repairBatch)
		extents := k.load(view, ids)
		_ = view.Close() // a snapshot that was only read
		if err != nil {
			return err
		}
		progress := each(ctx, repairWorkers, extents, func(x *meta.Extent) (rebuilt bool) {
			for i := range x.Drives {
				if x.Missing&(1<<i) != 0 && k.rebuild(ctx, x, i) {
					rebuilt = true
				}
			}
			return rebuilt
		})
		if len(ids) == 0 || ctx.Err() != nil {
			return ctx.Err()
		}
		if !progress {
			after = last
		}
	}
}

// How many extents are repaired at once: while one waits for a drive, another is decoded; and how many contents are collected at once, so that
// the drives sync their deletions together and garbage goes as quickly as many clients can make it.
const (
	repairWorkers  = 4
	collectWorkers = 32
)

// each calls f for every item, the first ones first, in a few goroutines, and waits for them. It reports whether one call did something.
func each[T any](ctx context.Context, workers int, items []T, f func(T) bool) bool {
	var next atomic.Int64
	var did atomic.Bool
	var running sync.WaitGroup
	for range min(workers, len(items)) {
		running.Go(func() {
			for ctx.Err() == nil {
				i := next.Add(1) - 1
				if i >= int64(len(items)) {
					return
				}
				if f(items[i]) {
					did.Store(true)
				}
			}
		})
	}
	running.Wait()
	return did.Load()
}

// load reads those extents that are in use. Of garbage the collector may have deleted shards already, and nobody needs them.
func (k *Keeper) load(view meta.View, ids []engine.ExtentID) []*meta.Extent {
	var list []*meta.Extent
	for _, id := range ids {
		x, err := meta.LoadExtent(view, id)
		if err != nil {
			continue
		}
		if used, err := meta.InUse(view, x); err == nil && used {
			list = append(list, x)
		}
	}
	return list
}

// repairAway moves shards off drives that are out, for good or not, as long as there are drives to move them to.
func (k *Keeper) repairAway(ctx context.Context) error {
	for _, drive := range k.config.Drives.Away() {
		var last engine.ExtentID
		for {
			view, err := k.view(ctx)
			if err != nil {
				return err
			}
			ids, err := meta.ListPlaced(view, drive, last, repairBatch)
			extents := k.load(view, ids)
			_ = view.Close() // a snapshot that was only read
			if err != nil {
				return err
			}
			if len(ids) == 0 {
				break
			}
			last = ids[len(ids)-1]
			each(ctx, repairWorkers, extents, func(x *meta.Extent) (rebuilt bool) {
				for i, d := range x.Drives {
					if d == drive && k.rebuild(ctx, x, i) {
						rebuilt = true
					}
				}
				return rebuilt
			})
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	return nil
}

// rebuild makes one shard again, on its own drive if that takes shards, else on a spare one, and commits the move.
func (k *Keeper) rebuild(ctx context.Context, x *meta.Extent, i int) bool {
	defer stepRebuild.Enter().Leave()
	from, to := x.Drives[i], x.Drives[i]
	if k.config.Drives.Out(from) || k.config.Drives.Store(from) == nil || slices.Contains(k.config.Drives.Leaving(), from) {
		spare, ok := k.config.Drives.Successor(from, x.Drives)
		if !ok {
			return k.narrow(ctx, x)
		}
		to = spare
	}
	target := k.config.Drives.Store(to)
	source, err := k.config.Source(x)
	if err == nil && target != nil {
		if err = extent.Rebuild(ctx, source, i, target); err == nil {
			_, err = k.do(ctx, &meta.MoveShard{Extent: x.ID, Index: i, From: from, To: to})
		}
	}
	if err != nil || target == nil {
		k.count(func(s *Stats) { s.ShardsFailed++ })
		if err != nil && ctx.Err() == nil && k.firstFailure(engine.ShardID{Extent: x.ID, Index: uint8(i)}) {
			k.config.Logger.Warn("a shard was not made again; the keepers go on trying, and say no more of it",
				"extent", fmt.Sprintf("%d.%d.%d", x.ID.Group, x.ID.Epoch, x.ID.Counter), "shard", i, "drive", to, "error", err)
		}
		return false
	}
	x.Drives[i] = to
	x.Missing &^= 1 << i
	k.count(func(s *Stats) { s.ShardsRebuilt++ })
	return true
}

// firstFailure reports whether the shard's failure has not been logged yet. Where very many fail it forgets the earlier ones.
func (k *Keeper) firstFailure(id engine.ShardID) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failed == nil || len(k.failed) > damagedMax {
		k.failed = map[engine.ShardID]bool{}
	}
	first := !k.failed[id]
	k.failed[id] = true
	return first
}

// garbage lists contents that no reader can see any more.
func (k *Keeper) garbage(view *group.View, n int) ([]meta.Garbage, error) {
	index, err := view.Index()
	if err != nil {
		return nil, err
	}
	return meta.ListGarbage(view, k.config.OldestPin(index)+1, n)
}

// collect deletes the shards of garbage that no reader can see any more, then the rows.
func (k *Keeper) collect(ctx context.Context) error {
	stuck := map[meta.Garbage]bool{}
	for {
		view, err := k.view(ctx)
		if err != nil {
			return err
		}
		list, err := k.garbage(view, repairBatch+len(stuck))
		if err != nil {
			_ = view.Close() // the first error is the reason
			return err
		}
		list = slices.DeleteFunc(list, func(g meta.Garbage) bool { return stuck[g] })
		var mu sync.Mutex // guards stuck and failed
		var failed error
		progress := each(ctx, collectWorkers, list, func(g meta.Garbage) bool {
			done, err := k.collectOne(ctx, view, g)
			mu.Lock()
			defer mu.Unlock()
			stuck[g] = !done
			failed = cmp.Or(failed, err)
			return done
		})
		if failed != nil {
			_ = view.Close() // the first error is the reason
			return failed
		}
		if err := view.Close(); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if !progress {
			k.count(func(s *Stats) { s.Collections++ })
			return nil
		}
	}
}

// collectOne deletes what it can of one content; done means that the content is forgotten.
func (k *Keeper) collectOne(ctx context.Context, view meta.View, g meta.Garbage) (done bool, err error) {
	defer stepCollect.Enter().Leave()
	content, err := meta.LoadContent(view, g.Content)
	if err == meta.ErrAbsent {
		return true, nil
	}
	if err != nil || !content.Garbage {
		return false, err
	}
	var gone []engine.ExtentID
	left := uint64(1)
	for i, run := range content.Runs {
		if run.Content == 0 && !run.Hole() && k.deleteExtent(ctx, view, run.Extent) {
			gone = append(gone, run.Extent)
		}
		if len(gone) < forgetBatch && i < len(content.Runs)-1 {
			continue
		}
		answer, err := k.do(ctx, &meta.Forget{Index: g.Index, Content: g.Content, Extents: gone})
		if err != nil {
			return false, err
		}
		left, gone = answer.Left, nil
	}
	for before := left + 1; left > 0 && left < before; {
		// Runs that name contents go without help, so many at a time.
		before = left
		answer, err := k.do(ctx, &meta.Forget{Index: g.Index, Content: g.Content})
		if err != nil {
			return false, err
		}
		left = answer.Left
	}
	if left == 0 {
		k.count(func(s *Stats) { s.ContentsFreed++ })
	}
	return left == 0, nil
}

// forgetBatch is how many extents one Forget names.
const forgetBatch = 200

// deleteExtent deletes an extent's shards; true once every drive that is not gone for good has confirmed.
func (k *Keeper) deleteExtent(ctx context.Context, view meta.View, id engine.ExtentID) bool {
	x, err := meta.LoadExtent(view, id)
	if err == meta.ErrAbsent {
		return true
	}
	if err != nil {
		return false
	}
	var refused atomic.Bool
	var deleting sync.WaitGroup
	for i, drive := range x.Drives {
		store := k.config.Drives.Store(drive)
		if store == nil {
			if !k.config.Drives.Gone(drive) {
				refused.Store(true)
			}
			continue
		}
		deleting.Go(func() {
			if deleteShards(ctx, store, []engine.ShardID{{Extent: id, Index: uint8(i)}}) != nil {
				refused.Store(true)
			}
		})
	}
	deleting.Wait()
	return !refused.Load()
}

// deleteShards waits no longer for a drive than others may be kept waiting.
func deleteShards(ctx context.Context, store extent.ShardStore, ids []engine.ShardID) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // what was given up need not go on
	return extent.Within(ctx, func() error { return store.DeleteShards(ctx, ids) }, func() {})
}

// Sweep looks for shards that no command names, beside the sweeps after a start and after a drive came in.
func (k *Keeper) Sweep(ctx context.Context) error {
	k.turn.Lock()
	defer k.turn.Unlock()
	return k.sweep(ctx)
}

// sweepOnce sweeps unless that was done since the last drive came in.
func (k *Keeper) sweepOnce(ctx context.Context) error {
	k.mu.Lock()
	swept := k.swept
	k.swept = true
	k.mu.Unlock()
	if swept {
		return nil
	}
	err := k.sweep(ctx)
	if err != nil {
		k.mu.Lock()
		k.swept = false
		k.mu.Unlock()
	}
	return err
}

// sweep deletes shards that the group does not place where they are, where no command can place them there any more: because their writer's
// epoch is closed, or because their extent has its row, and only the keeper, which is doing this, moves shards of those.
func (k *Keeper) sweep(ctx context.Context) error {
	defer stepSweep.Enter().Leave()
	recorded := 0
	leaving := k.config.Drives.Leaving()
	for _, drive := range k.config.Drives.All() {
		if slices.Contains(leaving, drive) {
			continue // what moved off it goes with it, and until then serves readers who looked before the move
		}
		var after engine.ShardID
		for {
			list, ok, err := k.config.Drives.Shards(drive, after, repairBatch)
			if err != nil || !ok || len(list) == 0 {
				if err != nil {
					return err
				}
				break
			}
			after = list[len(list)-1].ID
			n, err := k.recordLost(ctx, drive, list)
			if err == nil {
				err = k.sweepShards(ctx, drive, list)
			}
			if err != nil {
				return err
			}
			if recorded += n; recorded >= lostMax {
				k.CameIn() // the rest after what is known by now was repaired as far as it goes
				return nil
			}
		}
	}
	k.count(func(s *Stats) { s.SweepsComplete++ })
	return nil
}

// lostMax is how many lost shards a sweep records before repair has its turn: a drive may have lost millions, and those of which an extent has
// the fewest left are not to wait for all of them.
const lostMax = 10_000

// recordLost records as missing what the drive knows to have lost, and returns how many shards these are.
func (k *Keeper) recordLost(ctx context.Context, drive engine.DriveID, found []Found) (recorded int, err error) {
	var lost []engine.ShardID
	for _, f := range found {
		if f.Lost {
			lost = append(lost, f.ID)
		}
	}
	if len(lost) == 0 {
		return 0, nil
	}
	view, err := k.view(ctx)
	if err != nil {
		return 0, err
	}
	lost = slices.DeleteFunc(lost, func(id engine.ShardID) bool {
		x, errLoad := meta.LoadExtent(view, id.Extent)
		if errLoad == meta.ErrAbsent { // whoever wrote it may be about to say so
			k.note(damage{id, drive}, fromSweep)
			return true
		}
		err = cmp.Or(err, errLoad)
		return errLoad != nil || int(id.Index) >= len(x.Drives) || x.Drives[id.Index] != drive || x.Missing&(1<<id.Index) != 0
	})
	_ = view.Close() // a snapshot that was only read
	if err != nil || len(lost) == 0 {
		return 0, err
	}
	var failed atomic.Pointer[error]
	each(ctx, collectWorkers, lost, func(id engine.ShardID) bool {
		_, err := k.do(ctx, &meta.ReportMissing{Extent: id.Extent, Index: int(id.Index), Drive: drive})
		if err != nil && !engine.Is(err, engine.KindConflict) {
			failed.Store(&err)
		}
		return err == nil
	})
	k.Wake()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return len(lost), ctx.Err()
}

func (k *Keeper) sweepShards(ctx context.Context, drive engine.DriveID, found []Found) error {
	list := make([]engine.ShardID, len(found))
	for i, f := range found {
		list[i] = f.ID
	}
	stray, err := k.stray(ctx, drive, list)
	if err != nil || len(stray) == 0 {
		return err
	}
	// A move that the keeper gave up waiting for may still be decided. What the group decides now comes after it.
	if _, err := k.do(ctx, &meta.ClearTrash{}); err != nil {
		return err
	}
	if stray, err = k.stray(ctx, drive, stray); err != nil {
		return err
	}
	store := k.config.Drives.Store(drive)
	if len(stray) == 0 || store == nil {
		return nil
	}
	if err := deleteShards(ctx, store, stray); err != nil {
		return err
	}
	k.count(func(s *Stats) { s.ShardsSwept += uint64(len(stray)) })
	return nil
}

// stray returns those of the shards on a drive that no command has placed there or will.
func (k *Keeper) stray(ctx context.Context, drive engine.DriveID, list []engine.ShardID) (stray []engine.ShardID, err error) {
	view, err := k.view(ctx)
	if err != nil {
		return nil, err
	}
	defer view.Close()
	open, err := meta.Epochs(view)
	if err != nil {
		return nil, err
	}
	for _, id := range list {
		x, err := meta.LoadExtent(view, id.Extent)
		switch _, isOpen := open[id.Extent.Epoch]; {
		case err != nil && err != meta.ErrAbsent:
			return nil, err
		case err == meta.ErrAbsent && isOpen:
			continue // its command may be on the way
		case err == meta.ErrAbsent || int(id.Index) >= len(x.Drives) || x.Drives[id.Index] != drive:
			stray = append(stray, id)
		}
	}
	return stray, nil
}
