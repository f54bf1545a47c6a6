package repair

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"holdfast/engine"
	"holdfast/engine/disk"
	"holdfast/engine/extent"
	"holdfast/engine/group"
	"holdfast/engine/meta"
	"holdfast/observe"
)

// ScrubConfig says how often and how quickly drives are scrubbed.
type ScrubConfig struct {
	// Root keeps the progress and the proofs, as settings of the root group.
	Root *group.Writer
	// Period is the time that a pass over a drive is spread over, from the beginning of one to that of the next; 0: none begins by itself.
	Period time.Duration
	// Rate bounds the bytes that are read of a drive in a second; 0 means 64 MiB.
	Rate int64
	// Clock is the time; nil means that of the machine.
	Clock Clock
}

// Clock is the time as the scrub sees it.
type Clock interface {
	Now() time.Time
	// After returns a channel that something comes from once d has passed, unless stop is called, as it must be, before.
	After(d time.Duration) (passed <-chan time.Time, stop func())
}

type machineClock struct{}

func (machineClock) Now() time.Time { return time.Now() }

func (machineClock) After(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}

const (
	// scrubRateMin is the pace of a pass that its period leaves more time than it needs, in bytes per second.
	scrubRateMin = 1 << 20
	// scrubRateDefault bounds the pace where nothing else does.
	scrubRateDefault = 64 << 20
	// scrubRead is the most that one read asks for; there is never more than one under way on a drive.
	scrubRead = 1 << 20
	// After scrubSave, or that many bytes, progress is made durable once the shard at hand, of at most 64 MiB, was read: as much is read again after a
	// crash.
	scrubSave      = time.Minute
	scrubSaveBytes = 1<<30 - 64<<20
	// scrubGrain is how far reads may be ahead of their pace, so that small ones need no timer each.
	scrubGrain = 20 * time.Millisecond
	// scrubFarewell is how long the progress may take to be made durable while the keepers stop.
	scrubFarewell = 2 * time.Second
)

var stepScrub = observe.NewStep("repair: the progress of the scrub is made durable")

// ScrubStatus tells how far the scrub of a drive is.
type ScrubStatus struct {
	Known bool          `json:"known"`               // what is recorded was read; else Last, Pass and Due are nil whatever they are
	Last  *Proof        `json:"last,omitempty"`      // the last complete pass; nil: there was none
	Pass  *ScrubPass    `json:"under_way,omitempty"` // nil: none is
	Due   *time.Time    `json:"due,omitempty"`       // when a pass begins by itself; nil while one is under way, or if none will
	Why   string        `json:"problem,omitempty"`   // why it does not go on
	Done  ScrubCounters `json:"since_start"`         // since the keepers were started
}

// ScrubPass is the pass under way.
type ScrubPass struct {
	Started time.Time `json:"started"`
	Asked   bool      `json:"asked,omitempty"` // somebody asked for it
	Percent float64   `json:"percent"`         // of the bytes that the drive's shards take now
	ScrubCounters
}

// scrubs are the scrubs of all drives.
type scrubs struct {
	k       *Keeper
	config  ScrubConfig
	running sync.WaitGroup

	mu        sync.Mutex // guards all below
	drives    map[engine.DriveID]*scrub
	forgotten map[engine.DriveID]bool // drives that are gone, and have no record

	news chan struct{} // of capacity 1: a drive came in
}

func newScrubs(k *Keeper) *scrubs {
	s := &scrubs{k: k, config: k.config.Scrub, drives: map[engine.DriveID]*scrub{}, forgotten: map[engine.DriveID]bool{}, news: make(chan struct{}, 1)}
	if s.config.Clock == nil {
		s.config.Clock = machineClock{}
	}
	if s.config.Rate == 0 {
		s.config.Rate = scrubRateDefault
	}
	return s
}

// run sees to it that each drive of the node is scrubbed, until ctx ends, and then waits for all.
func (s *scrubs) run(ctx context.Context) {
	defer s.running.Wait()
	ticker := time.NewTicker(s.k.config.Interval)
	defer ticker.Stop()
	for {
		for _, id := range s.look(ctx) {
			s.forget(ctx, id)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.news:
		case <-ticker.C:
		}
	}
}

// look begins the scrub of drives that have none, and returns the drives that are gone.
func (s *scrubs) look(ctx context.Context) (gone []engine.DriveID) {
	drives := s.k.config.Drives
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range append(drives.All(), drives.Away()...) {
		switch {
		case drives.Gone(id):
			gone = append(gone, id)
		case s.drives[id] == nil:
			d := &scrub{scrubs: s, drive: id, asks: make(chan ask), ended: make(chan struct{}), buffer: make(chan []byte, 1)}
			s.drives[id] = d
			s.running.Go(func() {
				defer s.over(d)
				d.run(ctx)
			})
		}
	}
	return gone
}

func (s *scrubs) over(d *scrub) {
	close(d.ended)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.drives, d.drive)
}

// forget removes the record of a drive that is gone.
func (s *scrubs) forget(ctx context.Context, id engine.DriveID) {
	s.mu.Lock()
	busy := s.drives[id] != nil || s.forgotten[id]
	s.mu.Unlock()
	if busy {
		return
	}
	b, err := s.load(ctx, id)
	if err == nil && len(b) > 0 {
		err = s.save(ctx, id, nil)
	}
	if err != nil {
		return // its turn comes again
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgotten[id] = true
}

func (s *scrubs) load(ctx context.Context, id engine.DriveID) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	view, err := s.config.Root.Group().Read(ctx)
	if err != nil {
		return nil, err
	}
	b, err := meta.GetSetting(view, scrubSetting(id))
	return b, errors.Join(err, view.Close())
}

// save makes a record durable; an empty one is removed.
func (s *scrubs) save(ctx context.Context, id engine.DriveID, record []byte) error {
	defer stepScrub.Enter().Leave()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	_, _, err := s.config.Root.Do(ctx, &meta.Setting{Name: scrubSetting(id), Value: record})
	return err
}

func (s *scrubs) of(id engine.DriveID) *scrub {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drives[id]
}

// ScrubStatus tells how far the scrub of a drive is.
func (k *Keeper) ScrubStatus(drive engine.DriveID) ScrubStatus {
	if s := k.scrubs.of(drive); s != nil {
		return s.status()
	}
	return ScrubStatus{Why: notRead}
}

// ScrubNow begins a pass over a drive, at the rate limit, and returns once that is durable: it goes on after a restart. A pass that began by itself
// gives way to it. KindConflict if one that was asked for is under way, KindUnavailable if the drive is not at hand, or with the group's error.
func (k *Keeper) ScrubNow(ctx context.Context, drive engine.DriveID) error {
	s := k.scrubs.of(drive)
	if s == nil {
		return notAtHand(drive)
	}
	a := ask{ctx, make(chan error, 1)}
	select {
	case s.asks <- a:
	case <-s.ended:
		return notAtHand(drive)
	case <-ctx.Done():
		return engine.E(engine.KindCanceled, "the scrub of drive %d: %w", drive, context.Cause(ctx))
	}
	return <-a.answer
}

func notAtHand(drive engine.DriveID) error {
	return engine.E(engine.KindUnavailable, "drive %d is out; it can be scrubbed once it is in", drive)
}

// notRead is the problem of a scrub whose record is not known.
const notRead = "its record was not read yet"

// scrub is the scrub of one drive: one goroutine, which lasts until the keepers stop or the drive is gone for good.
//
// A pass walks through what the group of the buckets places on the drive, in the order of extents. What is placed behind the walk after the pass began
// is missed by it, and is read by the next; what goes meanwhile is passed over. The walk rests while the drive is out.
type scrub struct {
	*scrubs
	drive  engine.DriveID
	asks   chan ask
	ended  chan struct{}
	buffer chan []byte // has the memory of a pass, unless a read has it that was given up and has not come back

	// These are the goroutine's own.
	lent    bool      // there is memory, in buffer or with a read
	next    time.Time // when the next read may begin
	saved   time.Time // when progress was made durable, and how many bytes of the pass were read then
	savedAt int64
	logged  string // the last problem that was logged

	mu     sync.Mutex // guards all below, which the goroutine alone changes
	known  bool       // the record was read
	record scrubRecord
	held   int64 // bytes that the drive's shards took when that was asked last
	why    string
	done   ScrubCounters
}

type ask struct {
	ctx    context.Context
	answer chan error // has room for it
}

// errAnew ends what a pass does, because another was begun in its place.
var errAnew = errors.New("a pass was begun")

func (s *scrub) run(ctx context.Context) {
	for ctx.Err() == nil && !s.k.config.Drives.Gone(s.drive) {
		rest, err := s.step(ctx)
		if err != nil && err != errAnew && ctx.Err() == nil {
			s.problem(err)
			rest = s.k.config.Interval
		}
		if rest > 0 {
			_ = s.wait(ctx, rest) // whatever ends it, the next step looks
		}
	}
	s.farewell(ctx)
}

// step does what there is to be done, and says how long to rest afterwards.
func (s *scrub) step(ctx context.Context) (rest time.Duration, err error) {
	if !s.known {
		if err := s.recall(ctx); err != nil {
			return 0, err
		}
	}
	if !s.ready() {
		s.problem(nil)
		return s.k.config.Interval, nil
	}
	if s.record.Pass == nil {
		due, ever := s.due()
		now := s.config.Clock.Now()
		if !ever || now.Before(due) {
			s.problem(nil)
			if rest = s.k.config.Interval; ever {
				rest = min(rest, due.Sub(now))
			}
			return rest, nil
		}
		s.set(scrubRecord{Last: s.record.Last, Pass: &scrubPass{Started: instant(now)}})
		s.saved, s.savedAt = now, 0
	}
	return 0, s.batch(ctx)
}

// recall reads the record. One that is damaged proves nothing, and a pass that began by itself does not go on where none does.
func (s *scrub) recall(ctx context.Context) error {
	b, err := s.load(ctx, s.drive)
	if err != nil {
		return err
	}
	record, err := parseScrub(b)
	if engine.Is(err, engine.KindDamaged) {
		s.k.config.Logger.Error("what is kept of the scrub of a drive is damaged; it begins anew", "drive", s.drive, "error", err)
	} else if err != nil {
		return err
	}
	if s.config.Period == 0 && record.Pass != nil && !record.Pass.Asked {
		record.Pass = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known, s.record = true, record
	if record.Pass != nil {
		s.saved, s.savedAt = s.config.Clock.Now(), record.Pass.Bytes
	}
	return nil
}

// instant is a time as it comes back from a record.
func instant(t time.Time) time.Time { return t.Round(0).UTC() }

// ready reports whether the drive is in and at hand.
func (s *scrub) ready() bool {
	return !s.k.config.Drives.Out(s.drive) && s.k.config.Drives.Store(s.drive) != nil
}

// due returns when the next pass begins by itself; ever is false if none does. A clock that was ahead once does not put it off.
func (s *scrub) due() (at time.Time, ever bool) {
	now := s.config.Clock.Now()
	switch last := s.record.Last; {
	case s.config.Period == 0:
		return at, false
	case last == nil || last.Started.After(now):
		return now, true
	default:
		return last.Started.Add(s.config.Period), true
	}
}

// set changes the record in memory.
func (s *scrub) set(r scrubRecord) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record = r
}

// placedShard is a shard that the drive should have.
type placedShard struct {
	id   engine.ShardID
	size int64
}

// batch reads some shards, at the end of the walk none: then the pass is complete.
func (s *scrub) batch(ctx context.Context) error {
	if held := s.k.config.Drives.Held(s.drive); held > 0 {
		s.mu.Lock()
		s.held = held
		s.mu.Unlock()
	}
	list, last, err := s.list(ctx)
	if err != nil {
		return err
	}
	if last == (engine.ExtentID{}) {
		return s.complete(ctx)
	}
	if !s.lent {
		s.lent = true
		s.buffer <- disk.AlignedBytes(scrubRead)
	}
	began, rate := s.config.Clock.Now(), s.rate()
	for _, p := range list {
		if err := s.one(ctx, p, rate); err != nil {
			return err
		}
		if err := s.saveIfDue(ctx); err != nil {
			return err
		}
		if s.config.Clock.Now().Sub(began) >= scrubSave {
			return nil // what is left is looked up again: it may be gone by now
		}
	}
	s.walked(last, 0, false)
	return nil
}

// list returns what comes next, and the last extent that was looked at; zero: there is none.
func (s *scrub) list(ctx context.Context) (list []placedShard, last engine.ExtentID, err error) {
	view, err := s.k.view(ctx)
	if err != nil {
		return nil, last, err
	}
	defer view.Close()
	ids, err := meta.ListPlaced(view, s.drive, engine.ExtentID(s.record.Pass.After), repairBatch)
	if err != nil || len(ids) == 0 {
		return nil, last, err
	}
	for _, id := range ids {
		p, err := s.placed(view, id)
		if err != nil {
			return nil, last, fmt.Errorf("extent %d.%d.%d: %w", id.Group, id.Epoch, id.Counter, err)
		}
		if p.size > 0 {
			list = append(list, p)
		}
	}
	return list, ids[len(ids)-1], nil
}

// placed returns the shard of an extent that the drive should have; of size 0: none.
func (s *scrub) placed(view meta.Reader, id engine.ExtentID) (p placedShard, err error) {
	x, err := meta.LoadExtent(view, id)
	if err != nil {
		return p, err
	}
	i := slices.Index(x.Drives, s.drive)
	used, err := meta.InUse(view, x)
	if err != nil || !used || i < 0 || x.Missing&(1<<i) != 0 {
		return p, err
	}
	source, err := s.k.config.Source(x)
	if err != nil {
		return p, err
	}
	return placedShard{engine.ShardID{Extent: id, Index: uint8(i)}, source.Code.ShardBytes(x.Size)}, nil
}

// one reads a shard until it is known to be whole, damaged or gone, and walks on. Damage is looked at again and recorded before, as what a reader
// reports is: were it only noted, it could be forgotten while the progress beyond it is not.
func (s *scrub) one(ctx context.Context, p placedShard, rate float64) error {
	for {
		err := s.verify(ctx, p, rate)
		switch {
		case err == nil:
			s.problem(nil)
			s.walked(p.id.Extent, p.size, false)
			return nil
		case ctx.Err() != nil || err == errAnew || !lost(err):
			return err
		}
		here, errLook := s.isHere(ctx, p)
		switch {
		case errLook != nil:
			return errLook
		case !here:
			s.walked(p.id.Extent, 0, false)
			return nil
		case !s.ready(): // it is the drive that is lost, and known to be
			return notAtHand(s.drive)
		}
		became, errReport := s.k.reportOne(ctx, damage{p.id, s.drive}, fromReader)
		switch {
		case errReport != nil:
			return errReport
		case became == unclear:
			return err
		case became == recorded:
			x := p.id.Extent
			s.k.config.Logger.Warn("the scrub found a shard that is damaged; it will be made again",
				"shard", fmt.Sprintf("%d.%d.%d/%d", x.Group, x.Epoch, x.Counter, p.id.Index), "drive", s.drive, "error", err)
			s.walked(p.id.Extent, p.size, true)
			s.k.Wake()
			return nil
		}
	}
}

// verify reads a whole shard from the disk, at the pace.
func (s *scrub) verify(ctx context.Context, p placedShard, rate float64) error {
	store := s.k.config.Drives.Store(s.drive)
	if store == nil {
		return notAtHand(s.drive)
	}
	for off := int64(0); off < p.size; off += scrubRead {
		n := min(scrubRead, p.size-off)
		if err := s.pace(ctx, n, rate); err != nil {
			return err
		}
		var memory []byte
		select {
		case memory = <-s.buffer:
		default:
			return engine.E(engine.KindUnavailable, "a read of drive %d was given up, and has not come back", s.drive)
		}
		back := func() { s.buffer <- memory }
		err := extent.Within(ctx, func() error { return store.VerifyShard(p.id, off, memory[:n]) }, back)
		if extent.GivenUp(err) {
			return err
		}
		if back(); err != nil {
			return err
		}
	}
	return nil
}

// readWhole reads a whole shard at once, so that its checksums speak. It does as it likes with memory: a read that was given up still has the last.
func readWhole(ctx context.Context, store extent.ShardStore, id engine.ShardID, size int64) error {
	for off := int64(0); off < size; off += scrubRead {
		b := disk.AlignedBytes(int(min(scrubRead, size-off)))
		if err := extent.Within(ctx, func() error { return store.VerifyShard(id, off, b) }, func() {}); err != nil {
			return err
		}
	}
	return nil
}

// lost reports whether an error of a read says that the shard is not what it should be, and not that it could not be read just now.
func lost(err error) bool {
	return engine.Is(err, engine.KindDamaged) || engine.Is(err, engine.KindInvalidArgument) || disk.Unreadable(err)
}

// pace waits until n bytes may be read.
func (s *scrub) pace(ctx context.Context, n int64, rate float64) error {
	now := s.config.Clock.Now()
	if earliest := now.Add(-scrubGrain); s.next.Before(earliest) {
		s.next = earliest
	}
	wait := s.next.Sub(now)
	s.next = s.next.Add(time.Duration(float64(n) / rate * float64(time.Second)))
	return s.wait(ctx, wait)
}

// rate is the pace, in bytes per second: what is left of the pass over what is left of its period.
func (s *scrub) rate() float64 {
	pass, limit := s.record.Pass, float64(s.config.Rate)
	left := s.config.Period - s.config.Clock.Now().Sub(pass.Started)
	if pass.Asked || left <= 0 {
		return limit
	}
	return min(max(float64(s.held-pass.Bytes)/left.Seconds(), scrubRateMin), limit)
}

// isHere reports whether the group has a shard on the drive, and in use, now.
func (s *scrub) isHere(ctx context.Context, p placedShard) (bool, error) {
	view, err := s.k.view(ctx)
	if err != nil {
		return false, err
	}
	defer view.Close()
	now, err := s.placed(view, p.id.Extent)
	if err == meta.ErrAbsent {
		return false, nil
	}
	return now == p, err
}

// walked notes that the walk is past an extent, of whose shard size bytes were read; none if it had gone.
func (s *scrub) walked(x engine.ExtentID, size int64, damaged bool) {
	var n ScrubCounters
	if size > 0 {
		n = ScrubCounters{Shards: 1, Bytes: (size + disk.Align - 1) / disk.Align * disk.Align}
	}
	if damaged {
		n.Damaged = 1
	}
	s.mu.Lock()
	pass := *s.record.Pass // a copy: who encodes the former has it
	pass.After = scrubExtent(x)
	pass.add(n)
	s.record.Pass = &pass
	s.done.add(n)
	s.mu.Unlock()
	s.k.count(func(k *Stats) {
		k.ShardsScrubbed += uint64(n.Shards)
		k.BytesScrubbed += uint64(n.Bytes)
		k.ScrubDamaged += uint64(n.Damaged)
	})
}

// saveIfDue makes progress durable now and then.
func (s *scrub) saveIfDue(ctx context.Context) error {
	if s.config.Clock.Now().Sub(s.saved) < scrubSave && s.record.Pass.Bytes-s.savedAt < scrubSaveBytes {
		return nil
	}
	return s.keepRecord(ctx, s.record)
}

// keepRecord makes a record durable, and then it holds.
func (s *scrub) keepRecord(ctx context.Context, r scrubRecord) error {
	b, err := r.encode()
	if err == nil {
		err = s.save(ctx, s.drive, b)
	}
	if err != nil {
		return err
	}
	s.set(r)
	s.saved, s.savedAt = s.config.Clock.Now(), 0
	if r.Pass != nil {
		s.savedAt = r.Pass.Bytes
	}
	return nil
}

// complete ends a pass with its proof.
func (s *scrub) complete(ctx context.Context) error {
	pass := s.record.Pass
	proof := &Proof{Started: pass.Started, Ended: instant(s.config.Clock.Now()), ScrubCounters: pass.ScrubCounters}
	if err := s.keepRecord(ctx, scrubRecord{Last: proof}); err != nil {
		return err
	}
	s.release()
	s.problem(nil)
	s.k.count(func(k *Stats) { k.ScrubsComplete++ })
	s.k.config.Logger.Info("a drive was scrubbed", "drive", s.drive, "shards", proof.Shards, "bytes", proof.Bytes, "damaged", proof.Damaged, "took", proof.Ended.Sub(proof.Started))
	return nil
}

// release lets the memory of a pass go; a read that was given up keeps its own until it comes back.
func (s *scrub) release() {
	select {
	case <-s.buffer:
		s.lent = false
	default:
	}
}

// begin begins a pass that somebody asked for.
func (s *scrub) begin(ctx context.Context) error {
	s.mu.Lock()
	known, record, why := s.known, s.record, s.why
	s.mu.Unlock()
	switch {
	case !known:
		return engine.E(engine.KindUnavailable, "the scrub of drive %d: %s", s.drive, cmp.Or(why, notRead))
	case !s.ready():
		return notAtHand(s.drive)
	case record.Pass != nil && record.Pass.Asked:
		return engine.E(engine.KindConflict, "drive %d is being scrubbed already", s.drive)
	}
	return s.keepRecord(ctx, scrubRecord{Last: record.Last, Pass: &scrubPass{Started: instant(s.config.Clock.Now()), Asked: true}})
}

// wait lets time pass, unless a pass is asked for meanwhile: then errAnew says that it was begun.
func (s *scrub) wait(ctx context.Context, d time.Duration) error {
	if d <= 0 { // only who has come already is heard
		select {
		case a := <-s.asks:
			if s.answer(ctx, a) {
				return errAnew
			}
		default:
		}
		return ctx.Err()
	}
	passed, stop := s.config.Clock.After(d)
	defer stop()
	for {
		select {
		case <-passed:
			return ctx.Err()
		case <-ctx.Done():
			return ctx.Err()
		case a := <-s.asks:
			if s.answer(ctx, a) {
				return errAnew
			}
		}
	}
}

// answer begins a pass for who asked; false if it was not begun.
func (s *scrub) answer(ctx context.Context, a ask) bool {
	both, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(a.ctx, cancel)()
	err := s.begin(both)
	a.answer <- err
	return err == nil
}

// problem keeps why the scrub does not go on, and logs what is new; nil: it does.
func (s *scrub) problem(err error) {
	text := ""
	if err != nil {
		text = engine.Plain(err)
	}
	s.mu.Lock()
	s.why = text
	s.mu.Unlock()
	if text != "" && text != s.logged {
		s.k.config.Logger.Warn("the scrub of a drive does not go on for now", "drive", s.drive, "error", err)
	}
	s.logged = text
}

// farewell makes durable how far the pass is.
func (s *scrub) farewell(ctx context.Context) {
	if s.record.Pass == nil || s.record.Pass.Bytes == s.savedAt || s.k.config.Drives.Gone(s.drive) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), scrubFarewell)
	defer cancel()
	_ = s.keepRecord(ctx, s.record) // else a little is read again
}

func (s *scrub) status() ScrubStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := ScrubStatus{Known: s.known, Last: s.record.Last, Why: s.why, Done: s.done}
	if !s.known {
		status.Why = cmp.Or(s.why, notRead)
		return status
	}
	if pass := s.record.Pass; pass != nil {
		status.Pass = &ScrubPass{Started: pass.Started, Asked: pass.Asked, ScrubCounters: pass.ScrubCounters}
		if whole := max(s.held, pass.Bytes); whole > 0 {
			status.Pass.Percent = min(100*float64(pass.Bytes)/float64(whole), 99.9)
		}
	} else if due, ever := s.due(); ever {
		status.Due = &due
	}
	return status
}
