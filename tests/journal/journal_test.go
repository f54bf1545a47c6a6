// Package journal_test kills the real daemon with SIGKILL, again and again, under clients that keep a journal of what was acknowledged. Some
// kills come at a random instant, others as soon as the daemon is inside the step that was hit least often; and from time to time a drive is wiped.
//
// Promise: after every kill each key has the state that was acknowledged last, or that of the one operation that was under way; at the end
// every shard on the drives is one that the metadata places there, counted by a scanner that reads the drives of the stopped node.
// HOLDFAST_JOURNAL_ACKS says how many acknowledgements to collect.
//
// The package knows S3 and the bytes on drives. It does not know what the daemon is doing when it is killed, and the power stays on:
// what a power cut takes is the matter of tests/sim.
package journal_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/tags"
	"golang.org/x/sys/unix"

	"holdfast/daemon"
	"holdfast/engine"
	"holdfast/engine/disk"
	"holdfast/engine/drive"
	"holdfast/observe"
	"holdfast/tests/daemontest"
)

const (
	bucket  = "journal"
	clients = 8
	keys    = 12 // of each client

	lockedBucket = "journal-locked"
	forcedBucket = "journal-forced"

	wipesWanted = 4      // drives, one after the other
	many        = 20_000 // acknowledgements, from which on every step must have been hit
)

// client connects to a daemon.
func client(t *testing.T, d *daemontest.Daemon) *minio.Client {
	c, err := minio.New(d.Address, &minio.Options{Creds: credentials.NewStaticV4(daemontest.User, daemontest.Password, ""), MaxRetries: 1})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// journal is what one client knows of its keys: the states that each may have; "" is absent.
type journal struct {
	states map[string][]string
	gone   []string       // keys with content whose prefix may have been removed as a whole, or not
	forced []bool         // whether the bucket that is deleted by force may be there; one client alone knows of it
	held   []string       // versions that are under legal hold; the same client's
	bucket []string       // values that the tag of the bucket may have; one client alone knows of it
	acks   map[string]int // by operation
	open   map[string]int // operations that a kill interrupted
}

// body is content that a seed determines; its size tells the way it takes.
func body(rng *rand.Rand) []byte {
	size := []int{rng.IntN(200), rng.IntN(8192), 8193 + rng.IntN(60000), 300_000 + rng.IntN(1_500_000)}[rng.IntN(10)/3]
	return fill(rng.Uint64(), size)
}

func fill(seed uint64, size int) []byte {
	b := make([]byte, size+8)
	for i := 0; i < size; i += 8 {
		seed = seed*6364136223846793005 + 1442695040888963407
		binary.LittleEndian.PutUint64(b[i:], seed)
	}
	return b[:size]
}

func sum(b []byte) string {
	s := md5.Sum(b)
	return hex.EncodeToString(s[:])
}

// state is what a key with this content has: its MD5, and the value of its tag.
func state(b []byte, tag string) string { return sum(b) + " " + tag }

// tagged returns a state with another tag.
func tagged(state, tag string) string {
	content, _, _ := strings.Cut(state, " ")
	return content + " " + tag
}

// tagName is the name of every tag.
const tagName = "tag"

// step does one operation and writes down what came of it; false when the daemon is gone.
func (j *journal) step(ctx context.Context, c *minio.Client, rng *rand.Rand, key string) bool {
	j.gone = slices.DeleteFunc(j.gone, func(name string) bool { return name == key }) // what is done to it now tells nothing of the removal
	operation, next := "put", ""
	var do func() error
	switch n := rng.IntN(100); {
	case n < 20:
		operation = "delete"
		do = func() error { return c.RemoveObject(ctx, bucket, key, minio.RemoveObjectOptions{}) }
	case n < 22:
		operation = "abort" // what the key has stays
		if next = j.states[key][0]; len(j.states[key]) > 1 {
			return true
		}
		do = func() error { return abort(ctx, c, rng, key) }
	case n < 32:
		from := j.source(rng, key)
		if from == "" {
			return true
		}
		operation = "copy"
		next = j.states[from][0]
		do = func() error {
			_, err := c.CopyObject(ctx, minio.CopyDestOptions{Bucket: bucket, Object: key}, minio.CopySrcOptions{Bucket: bucket, Object: from})
			return err
		}
	case n < 36:
		operation = "slow put"
		b := fill(rng.Uint64(), 2+rng.IntN(4000))
		next = state(b, "")
		do = func() error { return slowPut(ctx, c, key, b) }
	case n < 39:
		operation = "multipart"
		b := fill(rng.Uint64(), 5<<20+rng.IntN(1<<20))
		next = state(b, "")
		do = func() error {
			_, err := c.PutObject(ctx, bucket, key, bytes.NewReader(b), int64(len(b)), minio.PutObjectOptions{PartSize: 5 << 20})
			return err
		}
	case n < 44:
		if current := j.states[key]; len(current) > 1 || current[0] == "" {
			return true
		}
		operation = "tag"
		tag := strconv.Itoa(rng.IntN(1000))
		next = tagged(j.states[key][0], tag)
		do = func() error {
			set, err := tags.NewTags(map[string]string{tagName: tag}, true)
			if err != nil {
				return err
			}
			return c.PutObjectTagging(ctx, bucket, key, set, minio.PutObjectTaggingOptions{})
		}
	case n < 48 && j.bucket != nil:
		switch rng.IntN(3) {
		case 0:
			return j.hold(ctx, c, rng)
		case 1:
			return j.force(ctx, c, rng)
		}
		return j.tagBucket(ctx, c, rng)
	case n == 48:
		return j.remove(ctx, c, key)
	case n < 52:
		return j.append(ctx, c, rng, key)
	case n < 55:
		return j.rename(ctx, c, rng, key)
	default:
		if len(j.states[key]) == 1 && j.states[key][0] != "" {
			operation = "overwrite"
		}
		b := body(rng)
		next = state(b, "")
		do = func() error {
			_, err := c.PutObject(ctx, bucket, key, bytes.NewReader(b), int64(len(b)), minio.PutObjectOptions{DisableMultipart: true})
			return err
		}
	}
	if err := do(); err != nil {
		j.open[operation]++
		j.states[key] = append(j.states[key], next)
		return false
	}
	j.acks[operation]++
	j.states[key] = []string{next}
	return true
}

// append is step for some bytes behind what the key has.
func (j *journal) append(ctx context.Context, c *minio.Client, rng *rand.Rand, key string) bool {
	current := j.states[key]
	if len(current) > 1 || current[0] == "" {
		return true
	}
	o, err := c.GetObject(ctx, bucket, key, minio.GetObjectOptions{})
	if err != nil {
		return false
	}
	before, err := io.ReadAll(o)
	if err := errors.Join(err, o.Close()); err != nil {
		return false // nothing was written
	}
	more := append(body(rng), 'x') // at least a byte
	_, tag, _ := strings.Cut(current[0], " ")
	next := state(slices.Concat(before, more), tag)
	if err := send(ctx, c, key, nil, http.Header{"X-Amz-Write-Offset-Bytes": {strconv.Itoa(len(before))}}, more); err != nil {
		j.open["append"]++
		j.states[key] = append(j.states[key], next)
		return false
	}
	j.acks["append"]++
	j.states[key] = []string{next}
	return true
}

// rename is step for another key's object that gets this key.
func (j *journal) rename(ctx context.Context, c *minio.Client, rng *rand.Rand, key string) bool {
	from := j.source(rng, key)
	if from == "" {
		return true
	}
	moved := j.states[from][0]
	if err := send(ctx, c, key, url.Values{"renameObject": {""}}, http.Header{"X-Amz-Rename-Source": {"/" + bucket + "/" + url.PathEscape(from)}}, nil); err != nil {
		j.open["rename"]++
		j.states[from], j.states[key] = []string{moved, ""}, append(j.states[key], moved)
		return false
	}
	j.acks["rename"]++
	j.states[from], j.states[key] = []string{""}, []string{moved}
	return true
}

// remove is step for all keys in the directory of a key.
func (j *journal) remove(ctx context.Context, c *minio.Client, key string) bool {
	prefix := key[:strings.LastIndexByte(key, '/')+1]
	var full []string
	for name, states := range j.states {
		if strings.HasPrefix(name, prefix) && len(states) > 1 {
			return true
		}
		if strings.HasPrefix(name, prefix) && states[0] != "" {
			full = append(full, name)
		}
	}
	err := c.RemoveObject(ctx, bucket, prefix, minio.RemoveObjectOptions{ForceDelete: true})
	if err != nil {
		j.open["removal"]++
		j.gone = full
	} else {
		j.acks["removal"]++
	}
	for _, name := range full {
		if j.states[name] = append(j.states[name], ""); err == nil {
			j.states[name] = []string{""}
		}
	}
	return err == nil
}

// force is step for a bucket that is made, filled, and deleted by force.
func (j *journal) force(ctx context.Context, c *minio.Client, rng *rand.Rand) bool {
	err := c.MakeBucket(ctx, forcedBucket, minio.MakeBucketOptions{})
	if minio.ToErrorResponse(err).Code == "BucketAlreadyOwnedByYou" {
		err = nil
	}
	for i := range 3 {
		if err == nil {
			b := body(rng)
			_, err = c.PutObject(ctx, forcedBucket, fmt.Sprintf("a/%d/k", i), bytes.NewReader(b), int64(len(b)), minio.PutObjectOptions{DisableMultipart: true})
		}
	}
	if err == nil {
		err = c.RemoveBucketWithOptions(ctx, forcedBucket, minio.RemoveBucketOptions{ForceDelete: true})
	}
	if err != nil {
		j.open["forced deletion"]++
		j.forced = []bool{false, true}
		return false
	}
	j.acks["forced deletion"]++
	j.forced = []bool{false}
	return true
}

// checkRemoved fails if a removal that was interrupted took some keys and not others, or if a bucket is there whose deletion was acknowledged.
func (j *journal) checkRemoved(ctx context.Context, t *testing.T, c *minio.Client) {
	left := 0
	for _, name := range j.gone {
		if j.states[name][0] != "" {
			left++
		}
	}
	if left > 0 && left < len(j.gone) {
		t.Errorf("an interrupted removal left %d of %d keys", left, len(j.gone))
	}
	j.gone = nil
	if j.forced == nil {
		return
	}
	there, err := c.BucketExists(ctx, forcedBucket)
	if err != nil || !slices.Contains(j.forced, there) {
		t.Errorf("the bucket that was deleted by force is there: %v, %v; the journal allows %v", there, err, j.forced)
	}
}

// send sends a PUT that the client library has no call for.
func send(ctx context.Context, c *minio.Client, key string, query url.Values, headers http.Header, body []byte) error {
	u, err := c.PresignHeader(ctx, http.MethodPut, bucket, key, time.Minute, query, headers)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, u.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header = headers.Clone()
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body) // as much as there is
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", answer.Status, text)
	}
	return nil
}

// hold is step for a version that is put under legal hold.
func (j *journal) hold(ctx context.Context, c *minio.Client, rng *rand.Rand) bool {
	b := body(rng)
	on := minio.LegalHoldEnabled
	made, err := c.PutObject(ctx, lockedBucket, "held", bytes.NewReader(b), int64(len(b)), minio.PutObjectOptions{DisableMultipart: true})
	if err == nil {
		err = c.PutObjectLegalHold(ctx, lockedBucket, "held", minio.PutObjectLegalHoldOptions{VersionID: made.VersionID, Status: &on})
	}
	if err != nil {
		j.open["legal hold"]++
		return false
	}
	j.acks["legal hold"]++
	j.held = append(j.held, made.VersionID)
	return true
}

// checkHeld fails if a version that was acknowledged to be under legal hold is not, or can be removed. It looks at the last few.
func (j *journal) checkHeld(ctx context.Context, t *testing.T, c *minio.Client) {
	for _, version := range j.held[max(0, len(j.held)-5):] {
		status, err := c.GetObjectLegalHold(ctx, lockedBucket, "held", minio.GetObjectLegalHoldOptions{VersionID: version})
		if err != nil || *status != minio.LegalHoldEnabled {
			t.Errorf("version %s was put under legal hold: %v, %v", version, status, err)
		}
		err = c.RemoveObject(ctx, lockedBucket, "held", minio.RemoveObjectOptions{VersionID: version, GovernanceBypass: true})
		if minio.ToErrorResponse(err).Code != "AccessDenied" {
			t.Errorf("the removal of version %s, which is under legal hold, answers %v", version, err)
		}
	}
}

// tagBucket is step for the tag of the bucket.
func (j *journal) tagBucket(ctx context.Context, c *minio.Client, rng *rand.Rand) bool {
	tag := strconv.Itoa(rng.IntN(1000))
	set, err := tags.NewTags(map[string]string{tagName: tag}, false)
	if err == nil {
		err = c.SetBucketTagging(ctx, bucket, set)
	}
	if err != nil {
		j.open["bucket tag"]++
		j.bucket = append(j.bucket, tag)
		return false
	}
	j.acks["bucket tag"]++
	j.bucket = []string{tag}
	return true
}

// abort begins an upload, gives it a part, and aborts it.
func abort(ctx context.Context, c *minio.Client, rng *rand.Rand, key string) error {
	core := minio.Core{Client: c}
	upload, err := core.NewMultipartUpload(ctx, bucket, key, minio.PutObjectOptions{})
	if err != nil {
		return err
	}
	b := body(rng)
	if _, err := core.PutObjectPart(ctx, bucket, key, upload, 1, bytes.NewReader(b), int64(len(b)), minio.PutObjectPartOptions{}); err != nil {
		return err
	}
	return core.AbortMultipartUpload(ctx, bucket, key, upload)
}

// slowPut sends a body in two pieces, with a pause between.
func slowPut(ctx context.Context, c *minio.Client, key string, body []byte) error {
	u, err := c.PresignedPutObject(ctx, bucket, key, time.Minute)
	if err != nil {
		return err
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return err
	}
	defer conn.Close()
	head := fmt.Sprintf("PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", u.RequestURI(), u.Host, len(body))
	if _, err := conn.Write(append([]byte(head), body[:len(body)/2]...)); err != nil {
		return err
	}
	time.Sleep(3 * time.Millisecond) // that the body is slow is what is tried
	if _, err := conn.Write(body[len(body)/2:]); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(answer.Body) // as much as there is
		return fmt.Errorf("%s: %s", answer.Status, text)
	}
	return nil
}

// source returns a key, other than to, whose content is known, or "" if a few guesses find none.
func (j *journal) source(rng *rand.Rand, to string) string {
	names := slices.Sorted(maps.Keys(j.states))
	for range 4 {
		name := names[rng.IntN(len(names))]
		if states := j.states[name]; name != to && len(states) == 1 && states[0] != "" {
			return name
		}
	}
	return ""
}

// check reads every key and fails if one has a state that the journal does not allow.
func (j *journal) check(ctx context.Context, t *testing.T, c *minio.Client) {
	for key, allowed := range j.states {
		got, err := read(ctx, c, key)
		if err != nil {
			t.Errorf("%s: %v", key, err)
			continue
		}
		ok := false
		for _, state := range allowed {
			ok = ok || state == got
		}
		if !ok {
			t.Errorf("%s has the state %q; the journal allows %q", key, got, allowed)
		}
		j.states[key] = []string{got}
	}
	j.checkRemoved(ctx, t, c)
	if j.bucket == nil {
		return
	}
	j.checkHeld(ctx, t, c)
	set, err := c.GetBucketTagging(ctx, bucket)
	if err != nil && minio.ToErrorResponse(err).Code != "NoSuchTagSet" {
		t.Errorf("the tags of the bucket: %v", err)
		return
	}
	got := ""
	if set != nil {
		got = set.ToMap()[tagName]
	}
	if !slices.Contains(j.bucket, got) {
		t.Errorf("the bucket has the tag %q; the journal allows %q", got, j.bucket)
	}
	j.bucket = []string{got}
}

func read(ctx context.Context, c *minio.Client, key string) (string, error) {
	o, err := c.GetObject(ctx, bucket, key, minio.GetObjectOptions{})
	if err != nil {
		return "", err
	}
	defer o.Close()
	b, err := io.ReadAll(o)
	if minio.ToErrorResponse(err).Code == "NoSuchKey" {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	set, err := c.GetObjectTagging(ctx, bucket, key, minio.GetObjectTaggingOptions{})
	if err != nil {
		return "", err
	}
	return state(b, set.ToMap()[tagName]), nil
}

func TestJournal(t *testing.T) {
	want := 2000
	if s := os.Getenv("HOLDFAST_JOURNAL_ACKS"); s != "" {
		var err error
		if want, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	d := daemontest.New(t)
	d.Start()
	ctx := t.Context()
	for _, name := range []string{bucket, lockedBucket} {
		if err := client(t, d).MakeBucket(ctx, name, minio.MakeBucketOptions{ObjectLocking: name == lockedBucket}); err != nil {
			t.Fatal(err)
		}
	}
	journals := make([]*journal, clients)
	for i := range journals {
		journals[i] = &journal{states: map[string][]string{}, acks: map[string]int{}, open: map[string]int{}}
		for k := range keys {
			journals[i].states[fmt.Sprintf("client%d/dir%d/key%d", i, k%3, k)] = []string{""}
		}
	}
	journals[0].bucket = []string{""}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	kills, aimed, wipes, total, inside := 0, 0, 0, 0, map[string]int{}
	longest := 2500 * time.Millisecond
	if want >= many {
		longest = 8 * time.Second
	}
	for total < want && !t.Failed() {
		target := leastHit(inside, rng)
		if rng.IntN(4) == 0 || inside[target] > 0 && rng.IntN(3) > 0 {
			target = "" // killed at a random instant: few times until every step was hit, mostly later
		}
		if round(ctx, t, d, journals, rng.Uint64(), 300*time.Millisecond+rand.N(longest), target) {
			aimed++
		}
		kills++
		noteSteps(t, d, inside)
		if total >= (wipes+1)*want/(wipesWanted+1) { // all was repaired at the end of the last round, and no more was lost since than a process
			whole := func() {
				d.Start()
				d.AwaitRepair(2 * time.Minute)
				d.Kill()
				kills++
				noteSteps(t, d, inside)
			}
			whole()
			kills += thin(ctx, t, d, journals, rng, inside)
			whole()
			d.Wipe(wipes % daemontest.Drives)
			wipes++
			for _, target := range []string{"group: a replica takes over the rows of another", "repair: a shard is made again", "repair: a shard is made again"} {
				launch(t, d)
				if hit := awaitStep(t, d, target, 5*time.Second); hit {
					aimed++
				}
				d.Kill()
				kills++
				noteSteps(t, d, inside)
			}
		}
		for rng.IntN(3) == 0 { // killed again before it is ready, or as soon as it has done what is done after a start
			launch(t, d)
			if target := leastHit(inside, rng); rng.IntN(4) > 0 {
				if awaitStep(t, d, target, 4*time.Second) {
					aimed++
				}
			} else {
				time.Sleep(time.Duration(rng.IntN(int(150 * time.Millisecond))))
			}
			d.Kill()
			kills++
			noteSteps(t, d, inside)
		}
		d.Start()
		total = 0
		c := client(t, d)
		for _, j := range journals {
			j.check(ctx, t, c)
			for _, n := range j.acks {
				total += n
			}
		}
	}
	acks, open := map[string]int{}, map[string]int{}
	for _, j := range journals {
		for operation, n := range j.acks {
			acks[operation] += n
		}
		for operation, n := range j.open {
			open[operation] += n
		}
	}
	t.Logf("%d kills, %d of them aimed at a step, %d drives wiped, acknowledged %v, interrupted %v", kills, aimed, wipes, acks, open)
	for _, operation := range []string{"put", "overwrite", "delete", "copy", "slow put", "multipart", "abort", "tag", "bucket tag", "append", "rename", "legal hold", "removal", "forced deletion"} {
		if acks[operation] == 0 {
			t.Errorf("no %s was acknowledged", operation)
		}
	}
	if wipes == 0 {
		t.Error("no drive was wiped")
	}
	if kills == 0 || open["put"]+open["overwrite"] == 0 {
		t.Error("no kill interrupted a write")
	}
	lines := make([]string, 0, len(inside))
	for name, n := range inside {
		lines = append(lines, fmt.Sprintf("%6d  %s", n, name))
		if n == 0 && want >= many {
			t.Errorf("no kill landed inside the step %q", name)
		}
	}
	slices.Sort(lines)
	t.Logf("kills that landed inside each step:\n%s", strings.Join(lines, "\n"))
	if len(lines) == 0 {
		t.Error("no step was recorded")
	}
	scan(t, d)
}

// thin takes two drives away for a round, in which what is written has less parity, brings them back, and kills the daemon while it makes up for that.
// It returns the number of kills.
func thin(ctx context.Context, t *testing.T, d *daemontest.Daemon, journals []*journal, rng *rand.Rand, inside map[string]int) (kills int) {
	first := rng.IntN(daemontest.Drives)
	move := func(from, to string) {
		for i := range 2 {
			drive := d.Drive((first + i) % daemontest.Drives)
			if err := os.Rename(drive+from, drive+to); err != nil {
				t.Fatal(err)
			}
		}
	}
	move("", ".away")
	d.Start()
	round(ctx, t, d, journals, rng.Uint64(), time.Second, "")
	noteSteps(t, d, inside)
	move(".away", "")
	for range 3 {
		launch(t, d)
		awaitStep(t, d, "repair: an extent with less parity is written anew", 5*time.Second)
		d.Kill()
		noteSteps(t, d, inside)
	}
	return 4
}

// noteSteps counts the steps that were under way when the daemon was killed.
func noteSteps(t *testing.T, d *daemontest.Daemon, inside map[string]int) {
	list, _ := observe.ReadRecord(filepath.Join(d.State(), daemon.StepsFile)) // a daemon that was killed early has none
	for _, s := range list {
		inside[s.Name] += 0
		if s.Entered != s.Left {
			inside[s.Name]++
		}
	}
}

// leastHit returns one of the steps that were hit least often, or "" if none is known.
func leastHit(inside map[string]int, rng *rand.Rand) string {
	names := slices.Sorted(maps.Keys(inside))
	if len(names) == 0 {
		return ""
	}
	rng.Shuffle(len(names), func(i, k int) { names[i], names[k] = names[k], names[i] })
	return slices.MinFunc(names, func(a, b string) int { return inside[a] - inside[b] })
}

// launch starts the daemon without the record of its predecessor.
func launch(t *testing.T, d *daemontest.Daemon) {
	if err := os.Remove(filepath.Join(d.State(), daemon.StepsFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	d.Launch()
}

// awaitStep returns once the running daemon is inside the step; false if that did not happen in time.
func awaitStep(t *testing.T, d *daemontest.Daemon, name string, limit time.Duration) bool {
	for end := time.Now().Add(limit); time.Now().Before(end); {
		list, _ := observe.ReadRecord(filepath.Join(d.State(), daemon.StepsFile)) // until the daemon has made it there is none
		for _, s := range list {
			if s.Name == name && s.Entered != s.Left {
				return true
			}
		}
		// The daemon needs the processor too, but some steps are over in 200 microseconds, and time.Sleep may round up to a millisecond.
		_ = unix.Nanosleep(&unix.Timespec{Nsec: 20_000}, nil) // interrupted is as good
	}
	return false
}

// round lets all clients work until the daemon is inside the target step, or for a while if there is none, kills the daemon under them, and
// waits for them to notice. It says whether the step was seen.
func round(ctx context.Context, t *testing.T, d *daemontest.Daemon, journals []*journal, seed uint64, length time.Duration, target string) (seen bool) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for i, j := range journals {
		wg.Add(1)
		go func() {
			defer wg.Done()
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			c := client(t, d)
			for more := true; more; {
				k := rng.IntN(keys)
				more = j.step(ctx, c, rng, fmt.Sprintf("client%d/dir%d/key%d", i, k%3, k))
			}
		}()
	}
	var over atomic.Bool
	if target == scrubStep { // passes that begin by themselves are weeks apart
		wg.Go(func() {
			for !over.Load() && ctx.Err() == nil {
				_, _ = d.Command("scrub", "start") // refused while a pass is under way
			}
		})
	}
	if target != "" {
		time.Sleep(length / 4) // some work before
		seen = awaitStep(t, d, target, length)
	} else {
		time.Sleep(length) // the instant of the kill is what is random here; nothing waits for a condition
	}
	d.Kill()
	over.Store(true)
	wg.Wait()
	return seen
}

// scrubStep is the step of the scrub.
const scrubStep = "repair: the progress of the scrub is made durable"

// scan waits until the keepers have nothing left to do, stops the daemon, and counts the shards on each drive by itself.
func scan(t *testing.T, running *daemontest.Daemon) {
	deadline := time.Now().Add(2 * time.Minute)
	status := running.Status()
	for status.Trash > 0 || status.Garbage > 0 || status.Keepers.SweepsComplete == 0 || status.Missing > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("the keepers are not done: %+v", status)
		}
		time.Sleep(50 * time.Millisecond)
		status = running.Status()
	}
	running.Stop()
	scanned := 0
	for _, d := range status.Drives {
		if d.Witness {
			continue
		}
		found := countShards(t, d.Path)
		scanned += found
		if found != d.Shards {
			t.Errorf("%s holds %d shards; the metadata places %d there", d.Path, found, d.Shards)
		}
	}
	t.Logf("%d shards scanned, each where the metadata has it", scanned)
	if scanned == 0 {
		t.Error("no shard was scanned")
	}
}

func countShards(t *testing.T, dir string) int {
	t.Helper()
	fsys, err := disk.OS(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	d, err := drive.Open(fsys, drive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	count := 0
	var after engine.ShardID
	for {
		list, err := d.Shards(after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			return count
		}
		count += len(list)
		after = list[len(list)-1].ID
	}
}
