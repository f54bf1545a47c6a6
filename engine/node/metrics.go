package node

import (
	"context"
	"errors"
	"strconv"
	"time"

	"holdfast/engine"
	"holdfast/engine/drive"
	"holdfast/engine/group"
	"holdfast/engine/meta"
	"holdfast/engine/repair"
	"holdfast/observe/metrics"
)

const (
	// censusRest and usageRest are how old figures may be that are read from the rows, at least; see aged.
	censusRest = 10 * time.Second
	usageRest  = time.Second
	// scrapePatience is how long a scrape waits for such figures, and groupPatience for each group.
	scrapePatience = time.Second
	groupPatience  = time.Second
	// namedBucketsMax bounds the buckets that have metrics of their own.
	namedBucketsMax = 1000
)

// What is measured of drives. A drive that is not at hand has no sizes.
var (
	driveLabels = []string{"drive", "path", "role"}

	driveIn       = driveGauge("in", "1 if the drive takes part, also one that leaves, 0 if it is out or does not yet")
	driveCapacity = driveGauge("capacity_bytes", "Size of the drive's file system")
	driveFree     = driveGauge("free_bytes", "Room for shards: what the file system has beyond the reserve, and unused room in segments")
	driveUsed     = driveGauge("used_bytes", "What the file system holds, by whomever")
	driveOldest   = driveGauge("oldest_call_seconds", "Age of the oldest call to the disk that has not returned; 0 without one")
	driveUnderWay = driveGauge("calls_in_progress", "Calls to the disk that have not returned")
	driveShards   = driveGauge("shards", "Shards that are recorded on the drive, when the census was made")
	driveLeaving  = driveGauge("leaving", "1 if the drive leaves: it takes no shards any more, and those that it has go to others")
	driveLeft     = driveGauge("leaving_shards", "Shards in use that are still on a drive that leaves, when the census was made; 0 of one that stays")
	driveLeftSize = driveGauge("leaving_bytes", "About how many bytes these shards have")
	driveSegments = driveGauge("segments", "Files that have the drive's shards")
	driveSparse   = driveGauge("segments_sparse", "Files in which so little of the shards is left that they are to be emptied")
	driveCalls    = driveCounter("calls_total", "Calls to the disk that returned")
	driveSeconds  = driveCounter("call_seconds_total", "Time that calls to the disk took together")
	driveErrors   = driveCounter("read_errors_total", "Reads that the disk answered with an error")

	scrubShards   = driveCounter("scrub_shards_total", "Shards that the scrub has read from the drive; the scrub's metrics are of data drives alone")
	scrubBytes    = driveCounter("scrub_bytes_total", "Bytes that the scrub has read from the drive")
	scrubDamaged  = driveCounter("scrub_damaged_total", "Shards that the scrub found missing or rotten on the drive")
	scrubProgress = driveGauge("scrub_progress_ratio", "How much of the drive the pass of the scrub that is under way has read, from 0 to 1; 0 without one")
	scrubLast     = driveGauge("scrub_last_timestamp_seconds", "When the last complete pass of the scrub over the drive ended, in Unix time; 0 if there was none")
)

func driveGauge(name, help string) *metrics.Metric {
	return &metrics.Metric{Name: "holdfast_drive_" + name, Kind: metrics.Gauge, Labels: driveLabels, Help: help}
}

func driveCounter(name, help string) *metrics.Metric {
	return &metrics.Metric{Name: "holdfast_drive_" + name, Kind: metrics.Counter, Labels: driveLabels, Help: help}
}

func gauge(name, help string, labels ...string) *metrics.Metric {
	return &metrics.Metric{Name: "holdfast_" + name, Kind: metrics.Gauge, Labels: labels, Help: help}
}

func counter(name, help string) *metrics.Metric {
	return &metrics.Metric{Name: "holdfast_" + name, Kind: metrics.Counter, Help: help}
}

// What is measured of the rest.
var (
	groupLeader   = gauge("group_leader", "The replica that leads the group; 0 if none is known", "group")
	groupTerm     = gauge("group_term", "The term of the group, which grows with each election", "group")
	groupIndex    = gauge("group_index", "Number of the last entry that the group decided", "group")
	groupQuorum   = gauge("group_quorum", "1 if enough replicas take part to decide something", "group")
	groupReplicas = gauge("group_replicas", "Replicas that the group has, or should have if that is more", "group")
	groupVoters   = gauge("group_voters", "Replicas that vote, which is all but those that are catching up", "group")
	groupLive     = gauge("group_replicas_live", "Replicas that take part", "group")

	writable    = gauge("writable", "1 if objects can be written now, as /minio/health/cluster has it")
	dataShards  = gauge("redundancy_data_shards", "Data shards of what is written to the standard class")
	parityShard = gauge("redundancy_parity_shards", "Parity shards of what is written to the standard class: as many drives may fail")

	bufferBudget   = gauge("buffer_budget_bytes", "Budget of block buffers, see the option memory")
	bufferHeld     = gauge("buffer_held_bytes", "What requests hold of the budget")
	bufferHeldMax  = gauge("buffer_held_bytes_max", "The most that requests have held of the budget since the start")
	bufferWaiting  = gauge("buffer_waiting", "Requests that wait for their share of the budget")
	bufferAcquired = counter("buffer_acquired_total", "Shares of the budget that were given out")
	bufferRefused  = counter("buffer_refused_total", "Requests that got no share of the budget in time and were told to slow down")

	keeperRebuilt  = counter("keeper_shards_rebuilt_total", "Shards that were made again")
	keeperFailed   = counter("keeper_shards_failed_total", "Attempts to make a shard again that failed; they are repeated")
	keeperWidened  = counter("keeper_extents_widened_total", "Extents that were written anew with the parity of their class")
	keeperMoved    = counter("keeper_shards_moved_total", "Shards that were moved off drives that leave")
	keeperMovedOf  = counter("keeper_bytes_moved_total", "Bytes of these shards")
	keeperSwept    = counter("keeper_shards_swept_total", "Shards that were deleted because no command names them")
	keeperSweeps   = counter("keeper_sweeps_total", "Sweeps that went through all drives")
	keeperFreed    = counter("keeper_contents_freed_total", "Contents, deleted or overwritten, whose room was given back")
	keeperTaken    = counter("keeper_versions_taken_apart_total", "Versions of removed prefixes and buckets that were taken apart, delete markers included")
	keeperForgot   = counter("keeper_changes_forgotten_total", "Changes of buckets that were forgotten: every follower had passed them, or they were beyond the budget")
	keeperLost     = counter("keeper_cursors_lost_total", "Cursors that were lost because their followers were too far behind")
	keeperPieced   = counter("keeper_files_compacted_total", "Files in many pieces that were made to lie in fewer")
	keeperBefore   = counter("keeper_runs_before_compaction_total", "Pieces in which these files lay before it")
	keeperAfter    = counter("keeper_runs_after_compaction_total", "Pieces in which these files lay after it")
	keeperBytes    = counter("keeper_compacted_bytes_total", "Bytes that were written anew to make the pieces of files fewer")
	keeperEmptied  = counter("keeper_segments_compacted_total", "Files of drives in which little was left, and that were emptied")
	keeperGathered = counter("keeper_shards_gathered_total", "Shards that were moved out of files in which little was left, on their drives")
	keeperGathers  = counter("keeper_gathered_bytes_total", "Bytes of shards that were moved out of files in which little was left")
	keeperReported = counter("keeper_shards_reported_total", "Shards that a reader found missing or rotten")

	extentsMissing = gauge("extents_missing_shards", "Extents in use that lack shards, when the census was made")
	extentsReduced = gauge("extents_less_parity", "Extents that were written with less parity while drives were away, when the census was made")
	shardsAway     = gauge("shards_on_lost_drives", "Shards in use that are recorded on drives that are out or gone, when the census was made")
	garbage        = gauge("contents_to_collect", "Contents that wait to be freed, when the census was made")
	trash          = gauge("trash", "Directories and uploads that were removed and are still to be taken apart, when the census was made")
	trashVersions  = gauge("trash_versions", "Versions in removed prefixes and buckets that are still to be taken apart, when the census was made")
	feedCursors    = gauge("feed_cursors", "Places of followers in the changes of buckets, when the census was made")
	feedLost       = gauge("feed_cursors_lost", "Cursors that fell out of the budget, and whose followers have to list their bucket anew, when the census was made")
	feedChanges    = gauge("feed_changes", "Changes of buckets that are noted for followers, when the census was made")
	feedBehind     = gauge("feed_changes_behind", "Changes that the slowest follower of a bucket has not passed, of the bucket where those are the most, when the census was made")
	scattered      = gauge("files_in_many_pieces", "Files that patches have left in many pieces, and that a keeper is to look at, when the census was made")
	censusAge      = gauge("census_age_seconds", "Age of the census, which goes through the rows of all extents, at most every ten seconds and for at most a twentieth of the time")
	censusTime     = gauge("census_duration_seconds", "How long the census took")

	buckets        = gauge("buckets", "Buckets that there are, when usage was read")
	objects        = gauge("objects", "Objects in all buckets: keys whose current version is no delete marker")
	versions       = gauge("versions", "Versions in all buckets, delete markers included")
	objectBytes    = gauge("object_bytes", "Bytes of the current versions in all buckets, before redundancy")
	bucketObjects  = gauge("bucket_objects", "Objects in the bucket, for the first 1000 buckets by name", "bucket")
	bucketVersions = gauge("bucket_versions", "Versions in the bucket, delete markers included, for the first 1000 buckets by name", "bucket")
	bucketBytes    = gauge("bucket_bytes", "Bytes of the current versions in the bucket, for the first 1000 buckets by name", "bucket")
	usageAge       = gauge("usage_age_seconds", "Age of the figures on buckets, which take one row for each bucket, at most every second and for at most a twentieth of the time")
)

var nodeMetrics = []*metrics.Metric{
	driveIn, driveCapacity, driveFree, driveUsed, driveOldest, driveUnderWay, driveShards, driveLeaving, driveLeft, driveLeftSize, driveSegments, driveSparse, driveCalls, driveSeconds, driveErrors,
	scrubShards, scrubBytes, scrubDamaged, scrubProgress, scrubLast,
	groupLeader, groupTerm, groupIndex, groupQuorum, groupReplicas, groupVoters, groupLive, writable, dataShards, parityShard,
	bufferBudget, bufferHeld, bufferHeldMax, bufferWaiting, bufferAcquired, bufferRefused,
	keeperRebuilt, keeperFailed, keeperWidened, keeperMoved, keeperMovedOf, keeperSwept, keeperSweeps, keeperFreed, keeperTaken, keeperPieced, keeperBefore, keeperAfter, keeperBytes, keeperEmptied, keeperGathered, keeperGathers, keeperForgot, keeperLost, keeperReported,
	extentsMissing, extentsReduced, shardsAway, garbage, trash, trashVersions, scattered, feedCursors, feedLost, feedChanges, feedBehind, censusAge, censusTime,
	buckets, objects, versions, objectBytes, bucketObjects, bucketVersions, bucketBytes, usageAge,
}

// Measure adds the metrics of the node, whose values are read at each scrape. What takes time in proportion to what is stored is read at most for a
// twentieth of the time, and then has an age, which is a metric, too; it has no values before it was read once. A scrape does not wait for a drive.
func (n *Node) Measure(r *metrics.Registry) {
	r.Read(nodeMetrics, func(emit metrics.Emit) {
		n.measureDrives(emit)
		n.measureGroups(emit)
		n.measureCounters(emit)
		n.measureUsage(emit)
	})
}

func (n *Node) measureDrives(emit metrics.Emit) {
	type driveNow struct {
		DriveStatus
		used  int64
		calls *drive.Calls
	}
	n.mu.Lock()
	var list []driveNow
	for _, s := range n.slots {
		d := driveNow{DriveStatus: driveStatus(s), used: s.usage.Used}
		if s.drive != nil {
			calls := s.drive.Calls()
			d.calls = &calls
		}
		list = append(list, d)
	}
	n.mu.Unlock()
	census, at, took := n.census.get(scrapePatience)
	for _, d := range list {
		labels := []string{strconv.FormatUint(uint64(d.Drive), 10), d.Path, roleOf(d.Witness)}
		emit(driveIn, metrics.Bool(d.State == "in" || d.State == "leaving"), labels...)
		if d.Total > 0 {
			emit(driveCapacity, float64(d.Total), labels...)
			emit(driveFree, float64(d.Free), labels...)
			emit(driveUsed, float64(d.used), labels...)
		}
		if d.calls != nil {
			emit(driveOldest, d.calls.Oldest.Seconds(), labels...)
			emit(driveUnderWay, float64(d.calls.UnderWay), labels...)
			emit(driveCalls, float64(d.calls.Ended), labels...)
			emit(driveSeconds, d.calls.Took.Seconds(), labels...)
			emit(driveErrors, float64(d.calls.ReadErrors), labels...)
		}
		emit(driveLeaving, metrics.Bool(d.Leaving != nil), labels...)
		if census != nil {
			emit(driveShards, float64(census.placed[d.Drive]), labels...)
			emit(driveLeft, float64(census.left[d.Drive].shards), labels...)
			emit(driveLeftSize, float64(census.left[d.Drive].bytes), labels...)
		}
		if !d.Witness {
			all, sparse := n.segments(d.Drive)
			emit(driveSegments, float64(all), labels...)
			emit(driveSparse, float64(sparse), labels...)
			measureScrub(n.keeper.ScrubStatus(d.Drive), emit, labels)
		}
	}
	if census == nil {
		return
	}
	emit(extentsMissing, float64(census.missing))
	emit(extentsReduced, float64(census.reduced))
	emit(shardsAway, float64(census.away))
	emit(garbage, float64(census.garbage))
	emit(trash, float64(census.trash.Things))
	emit(trashVersions, float64(census.trash.Versions))
	emit(feedCursors, float64(census.feeds.cursors))
	emit(feedLost, float64(census.feeds.lost))
	emit(feedChanges, float64(census.feeds.kept))
	emit(feedBehind, float64(census.feeds.behind))
	emit(scattered, float64(census.scattered))
	emit(censusAge, time.Since(at).Seconds())
	emit(censusTime, took.Seconds())
}

func measureScrub(s repair.ScrubStatus, emit metrics.Emit, labels []string) {
	emit(scrubShards, float64(s.Done.Shards), labels...)
	emit(scrubBytes, float64(s.Done.Bytes), labels...)
	emit(scrubDamaged, float64(s.Done.Damaged), labels...)
	if !s.Known {
		return
	}
	last, progress := 0.0, 0.0
	if s.Last != nil {
		last = float64(s.Last.Ended.Unix())
	}
	if s.Pass != nil {
		progress = s.Pass.Percent / 100
	}
	emit(scrubLast, last, labels...)
	emit(scrubProgress, progress, labels...)
}

func roleOf(witness bool) string {
	if witness {
		return "witness"
	}
	return "data"
}

func (n *Node) measureGroups(emit metrics.Emit) {
	ctx, cancel := context.WithTimeout(context.Background(), groupPatience)
	defer cancel()
	for _, g := range []*group.Group{n.root, n.data} {
		s, err := g.Status(ctx)
		if err != nil { // it stops, or is stuck: what is known of it is nothing
			continue
		}
		status, label := n.groupStatus(s), strconv.FormatUint(uint64(s.Group), 10)
		emit(groupLeader, float64(status.Leader), label)
		emit(groupTerm, float64(s.Term), label)
		emit(groupIndex, float64(status.Index), label)
		emit(groupQuorum, metrics.Bool(status.Quorum), label)
		emit(groupReplicas, float64(status.Replicas), label)
		emit(groupVoters, float64(status.Voters), label)
		emit(groupLive, float64(status.Live), label)
	}
	emit(writable, metrics.Bool(n.Writable(ctx) == nil))
}

func (n *Node) measureCounters(emit metrics.Emit) {
	standard := n.standard()
	emit(dataShards, float64(standard.Data))
	emit(parityShard, float64(standard.Parity))
	b := n.pool.Stats()
	emit(bufferBudget, float64(b.Budget))
	emit(bufferHeld, float64(b.Held))
	emit(bufferHeldMax, float64(b.HeldMax))
	emit(bufferWaiting, float64(b.Waiting))
	emit(bufferAcquired, float64(b.Acquired))
	emit(bufferRefused, float64(b.Refused))
	k := n.keeper.Stats()
	emit(keeperRebuilt, float64(k.ShardsRebuilt))
	emit(keeperFailed, float64(k.ShardsFailed))
	emit(keeperWidened, float64(k.ExtentsWidened))
	emit(keeperMoved, float64(k.ShardsMoved))
	emit(keeperMovedOf, float64(k.BytesMoved))
	emit(keeperSwept, float64(k.ShardsSwept))
	emit(keeperSweeps, float64(k.SweepsComplete))
	emit(keeperFreed, float64(k.ContentsFreed))
	emit(keeperTaken, float64(k.VersionsTakenApart))
	emit(keeperForgot, float64(k.ChangesForgotten))
	emit(keeperLost, float64(k.CursorsLost))
	emit(keeperPieced, float64(k.FilesCompacted))
	emit(keeperBefore, float64(k.RunsBefore))
	emit(keeperAfter, float64(k.RunsAfter))
	emit(keeperBytes, float64(k.BytesCompacted))
	emit(keeperEmptied, float64(k.SegmentsCompacted))
	emit(keeperGathered, float64(k.ShardsGathered))
	emit(keeperGathers, float64(k.BytesGathered))
	emit(keeperReported, float64(k.Reported))
}

func (n *Node) measureUsage(emit metrics.Emit) {
	u, at, _ := n.usage.get(scrapePatience)
	if u == nil {
		return
	}
	for _, b := range u.named {
		emit(bucketObjects, float64(b.Objects), string(b.name))
		emit(bucketVersions, float64(b.Versions), string(b.name))
		emit(bucketBytes, float64(b.Bytes), string(b.name))
	}
	emit(buckets, float64(u.buckets))
	emit(objects, float64(u.total.Objects))
	emit(versions, float64(u.total.Versions))
	emit(objectBytes, float64(u.total.Bytes))
	emit(usageAge, time.Since(at).Seconds())
}

// census is what going through the rows of the data group tells.
type census struct {
	missing, reduced, garbage, away, scattered int
	trash                                      meta.Trash
	feeds                                      feeds
	placed                                     map[engine.DriveID]int
	left                                       map[engine.DriveID]weight // on drives that leave
}

// weight is how many shards in use there are, and about how many bytes they have.
type weight struct {
	shards int
	bytes  int64
}

// takeCensus takes time in proportion to the number of extents.
func (n *Node) takeCensus(ctx context.Context) (c census, err error) {
	view, err := n.data.Read(ctx)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	count := func(to *int, f func(meta.View) (int, error)) {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			*to, err = f(view)
		}
	}
	count(&c.missing, meta.CountMissing)
	count(&c.reduced, meta.CountReduced)
	count(&c.garbage, meta.CountGarbage)
	count(&c.scattered, meta.CountScattered)
	if err == nil {
		c.trash, err = meta.CountTrash(view)
	}
	if err == nil {
		c.feeds, err = countFeeds(view)
	}
	c.placed = map[engine.DriveID]int{}
	placed := func(id engine.DriveID) (shards int) {
		count(&shards, func(v meta.View) (int, error) { return meta.CountPlaced(v, id) })
		return shards
	}
	weigh := func(id engine.DriveID) (w weight) {
		count(&w.shards, func(v meta.View) (shards int, err error) {
			shards, w.bytes, err = meta.WeighPlaced(v, id)
			return shards, err
		})
		return w
	}
	c.left = map[engine.DriveID]weight{}
	for _, id := range n.Away() {
		c.away += weigh(id).shards
	}
	for _, id := range n.Leaving() {
		c.left[id] = weigh(id)
	}
	for _, d := range n.Drives() {
		c.placed[d.Drive] = placed(d.Drive)
	}
	return c, err
}

// feeds is what all buckets have of followers.
type feeds struct {
	cursors, lost int
	kept, behind  uint64            // changes that are noted, and those that the slowest follower has not passed
	slowest       engine.BucketName // whose follower that is
}

func countFeeds(view meta.View) (f feeds, err error) {
	list, err := meta.ListFeeds(view)
	for i := range list {
		s := &list[i]
		f.cursors += s.Cursors
		f.lost += s.Lost
		f.kept += s.Kept()
		if s.Behind() > f.behind {
			f.behind, f.slowest = s.Behind(), s.Name
		}
	}
	return f, err
}

// usage is what the buckets hold.
type usage struct {
	buckets int
	total   meta.Usage
	named   []bucketUsage // the first by name
}

type bucketUsage struct {
	name engine.BucketName
	meta.Usage
}

// readUsage reads two rows for each bucket, whatever it holds.
func (n *Node) readUsage(ctx context.Context) (u usage, err error) {
	root, err := n.root.Read(ctx)
	if err != nil {
		return u, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	data, err := n.data.Read(ctx)
	if err != nil {
		return u, err
	}
	defer func() { err = errors.Join(err, data.Close()) }()
	for after := engine.BucketName(""); ; {
		page, err := meta.ListBuckets(root, "", after, engine.PageMax)
		if err = errors.Join(err, ctx.Err()); err != nil {
			return u, err
		}
		for _, b := range page {
			after = b.Name
			if b.State != meta.BucketActive {
				continue
			}
			held, err := meta.BucketUsage(data, b.ID)
			if errors.Is(err, meta.ErrAbsent) { // it goes, or nothing was ever in it
				err = nil
			}
			if err != nil {
				return u, err
			}
			u.buckets++
			u.total.Objects += held.Objects
			u.total.Bytes += held.Bytes
			u.total.Versions += held.Versions
			if len(u.named) < namedBucketsMax {
				u.named = append(u.named, bucketUsage{b.Name, held})
			}
		}
		if len(page) < engine.PageMax {
			return u, nil
		}
	}
}
