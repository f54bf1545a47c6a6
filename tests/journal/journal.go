// Package journal is clients that write down what a daemon acknowledged, and read afterwards whether it is there.
//
// Promise: after whatever happened to the daemon each key must have the state that was acknowledged last, or that of the one operation that was under
// way; Check fails otherwise. All that a client does goes into counts by operation: what was acknowledged, interrupted, and found to be there.
//
// The package knows S3 and how to reach a daemon. It does not know what happens to the daemon, which is the matter of who uses it.
package journal

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
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/tags"

	"holdfast/tests/daemontest"
)

const (
	bucket = "journal"
	keys   = 12 // of each client

	lockedBucket = "journal-locked"
	forcedBucket = "journal-forced"
)

// Client connects to a daemon.
func Client(t *testing.T, d *daemontest.Daemon) *minio.Client {
	t.Helper()
	c, err := minio.New(d.Address, &minio.Options{Creds: credentials.NewStaticV4(daemontest.User, daemontest.Password, ""), MaxRetries: 1})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Journal is what one client knows of its keys: the states that each may have; "" is absent.
type Journal struct {
	states map[string][]string
	gone   []string       // keys with content whose prefix may have been removed as a whole, or not
	forced []bool         // whether the bucket that is deleted by force may be there; one client alone knows of it
	held   []string       // versions that are under legal hold; the same client's
	bucket []string       // values that the tag of the bucket may have; one client alone knows of it
	acks   map[string]int // by operation
	open   map[string]int // operations that a kill interrupted

	prefix   string            // of all keys
	made     map[string]string // the operation that was acknowledged last, by key
	verified map[string]int    // keys that Check found as that operation left them, by operation
}

// Operations are those that clients do, by the names that counts have.
var Operations = []string{"put", "overwrite", "delete", "copy", "slow put", "multipart", "abort", "tag", "bucket tag", "append", "rename", "legal hold", "removal", "forced deletion"}

// Journals are those of several clients, each with keys of its own.
type Journals []*Journal

// Begin makes the buckets of a daemon that has none, and the journals of some clients.
func Begin(t *testing.T, d *daemontest.Daemon, clients int) Journals {
	t.Helper()
	for _, name := range []string{bucket, lockedBucket} {
		if err := Client(t, d).MakeBucket(t.Context(), name, minio.MakeBucketOptions{ObjectLocking: name == lockedBucket}); err != nil {
			t.Fatal(err)
		}
	}
	journals := make(Journals, clients)
	for i := range journals {
		j := &Journal{states: map[string][]string{}, acks: map[string]int{}, open: map[string]int{}, made: map[string]string{}, verified: map[string]int{}, prefix: fmt.Sprintf("client%d/", i)}
		for k := range keys {
			j.states[j.key(k)] = []string{""}
		}
		journals[i] = j
	}
	journals[0].bucket = []string{""}
	return journals
}

func (j *Journal) key(k int) string { return fmt.Sprintf("%sdir%d/key%d", j.prefix, k%3, k) }

// Work has all clients work until each has met an operation that failed. Wait for the group.
func (all Journals) Work(ctx context.Context, t *testing.T, d *daemontest.Daemon, seed uint64) *sync.WaitGroup {
	var wait sync.WaitGroup
	for i, j := range all {
		c := Client(t, d)
		wait.Go(func() {
			for rng := rand.New(rand.NewPCG(seed, uint64(i))); j.Step(ctx, c, rng, j.key(rng.IntN(keys))); {
			}
		})
	}
	return &wait
}

// Check is that of each journal.
func (all Journals) Check(ctx context.Context, fail Fail, c *minio.Client) {
	for _, j := range all {
		j.Check(ctx, fail, c)
	}
}

// Counts returns what was acknowledged, what was interrupted, and what Check found as it had been acknowledged, by operation.
func (all Journals) Counts() (acked, interrupted, verified map[string]int) {
	acked, interrupted, verified = map[string]int{}, map[string]int{}, map[string]int{}
	for _, j := range all {
		for _, c := range []struct{ sum, of map[string]int }{{acked, j.acks}, {interrupted, j.open}, {verified, j.verified}} {
			for operation, n := range c.of {
				c.sum[operation] += n
			}
		}
	}
	return acked, interrupted, verified
}

// Acked returns how many operations were acknowledged.
func (all Journals) Acked() (total int) {
	for _, j := range all {
		for _, n := range j.acks {
			total += n
		}
	}
	return total
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

// Step does one operation with a key and writes down what came of it; false when the daemon is gone, or cannot do it.
func (j *Journal) Step(ctx context.Context, c *minio.Client, rng *rand.Rand, key string) bool {
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
	j.acked(operation, key, next)
	return true
}

// acked writes down that an operation was acknowledged, and the state that the key has by it.
func (j *Journal) acked(operation, key, state string) {
	j.acks[operation]++
	j.states[key] = []string{state}
	j.made[key] = operation
}

// append is step for some bytes behind what the key has.
func (j *Journal) append(ctx context.Context, c *minio.Client, rng *rand.Rand, key string) bool {
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
	j.acked("append", key, next)
	return true
}

// rename is step for another key's object that gets this key.
func (j *Journal) rename(ctx context.Context, c *minio.Client, rng *rand.Rand, key string) bool {
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
	j.states[from] = []string{""}
	j.acked("rename", key, moved)
	return true
}

// remove is step for all keys in the directory of a key.
func (j *Journal) remove(ctx context.Context, c *minio.Client, key string) bool {
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
func (j *Journal) force(ctx context.Context, c *minio.Client, rng *rand.Rand) bool {
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
func (j *Journal) checkRemoved(ctx context.Context, fail Fail, c *minio.Client) {
	left := 0
	for _, name := range j.gone {
		if j.states[name][0] != "" {
			left++
		}
	}
	if left > 0 && left < len(j.gone) {
		fail("an interrupted removal left %d of %d keys", left, len(j.gone))
	}
	j.gone = nil
	if j.forced == nil {
		return
	}
	there, err := c.BucketExists(ctx, forcedBucket)
	if err != nil || !slices.Contains(j.forced, there) {
		fail("the bucket that was deleted by force is there: %v, %v; the journal allows %v", there, err, j.forced)
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
func (j *Journal) hold(ctx context.Context, c *minio.Client, rng *rand.Rand) bool {
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
func (j *Journal) checkHeld(ctx context.Context, fail Fail, c *minio.Client) {
	for _, version := range j.held[max(0, len(j.held)-5):] {
		status, err := c.GetObjectLegalHold(ctx, lockedBucket, "held", minio.GetObjectLegalHoldOptions{VersionID: version})
		if err != nil || *status != minio.LegalHoldEnabled {
			fail("version %s was put under legal hold: %v, %v", version, status, err)
		}
		err = c.RemoveObject(ctx, lockedBucket, "held", minio.RemoveObjectOptions{VersionID: version, GovernanceBypass: true})
		if minio.ToErrorResponse(err).Code != "AccessDenied" {
			fail("the removal of version %s, which is under legal hold, answers %v", version, err)
		}
	}
}

// tagBucket is step for the tag of the bucket.
func (j *Journal) tagBucket(ctx context.Context, c *minio.Client, rng *rand.Rand) bool {
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
func (j *Journal) source(rng *rand.Rand, to string) string {
	names := slices.Sorted(maps.Keys(j.states))
	for range 4 {
		name := names[rng.IntN(len(names))]
		if states := j.states[name]; name != to && len(states) == 1 && states[0] != "" {
			return name
		}
	}
	return ""
}

// Fail is called for each promise that was broken.
type Fail = func(format string, args ...any)

// Check reads every key, and the listing of them, and fails if one has a state that the journal does not allow. What it finds is the state from then on.
func (j *Journal) Check(ctx context.Context, fail Fail, c *minio.Client) {
	there := 0
	for key, allowed := range j.states {
		got, err := read(ctx, c, key)
		if err != nil {
			fail("%s: %v", key, err)
			continue
		}
		switch {
		case !slices.Contains(allowed, got):
			fail("%s has the state %q; the journal allows %q", key, got, allowed)
		case len(allowed) == 1 && j.made[key] != "":
			j.verified[j.made[key]]++
		}
		j.states[key] = []string{got}
		if got != "" {
			there++
		}
	}
	for o := range c.ListObjects(ctx, bucket, minio.ListObjectsOptions{Prefix: j.prefix, Recursive: true}) {
		if o.Err != nil {
			fail("the listing of %s: %v", j.prefix, o.Err)
		} else if state := j.states[o.Key]; state == nil || state[0] == "" {
			fail("%s is listed, and cannot be read", o.Key)
		}
		there--
	}
	if there != 0 {
		fail("%d keys of %s can be read, and are not listed", there, j.prefix)
	}
	j.checkRemoved(ctx, fail, c)
	if j.bucket == nil {
		return
	}
	j.checkHeld(ctx, fail, c)
	set, err := c.GetBucketTagging(ctx, bucket)
	if err != nil && minio.ToErrorResponse(err).Code != "NoSuchTagSet" {
		fail("the tags of the bucket: %v", err)
		return
	}
	got := ""
	if set != nil {
		got = set.ToMap()[tagName]
	}
	if !slices.Contains(j.bucket, got) {
		fail("the bucket has the tag %q; the journal allows %q", got, j.bucket)
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
