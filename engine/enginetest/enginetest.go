// Package enginetest is the suite that every engine.Engine passes, whatever it is made of: each method, each Kind that a caller can
// bring about, and what the comments of package engine promise about bodies that fail, readers that are overtaken and writers that race.
// Run asks one engine; Random sends the same operations to a model and to an engine, whose answers must agree.
//
// Promise: a test that fails names a sentence of package engine that does not hold. The suite asks nothing that the sentences leave open,
// such as which of two faults of one call is answered.
//
// It does not know how an engine works, and injects no faults below it: crashes, lost drives and damage belong to the tests of those
// who know drives.
package enginetest

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"testing"

	"holdfast/engine"
)

// Run runs the suite against the engine that open returns. It calls open once; what must be closed belongs into t.Cleanup. Every case
// works in buckets of its own, with names that are drawn anew each time, and ignores others: the engine need not be empty, but it must
// have room for some hundred MiB.
func Run(t *testing.T, open func(t *testing.T) engine.Engine) {
	e := open(t)
	for _, c := range slices.Concat(cases, fileCases, patchCases, ownerCases, feedCases) {
		t.Run(c.name, func(t *testing.T) {
			s := newSuite(t, e)
			c.run(s)
		})
	}
}

var cases = []struct {
	name string
	run  func(s *suite)
}{
	{"Buckets", buckets},
	{"BucketNames", bucketNames},
	{"BucketNotEmpty", bucketNotEmpty},
	{"BucketIdentity", bucketIdentity},
	{"ListBuckets", listBuckets},
	{"NoSuchBucket", noSuchBucket},
	{"Sizes", sizes},
	{"LargeObject", largeObject},
	{"ObjectInfo", objectInfo},
	{"Attributes", attributes},
	{"AttributesTooLarge", attributesTooLarge},
	{"Sequence", sequence},
	{"Keys", keys},
	{"KeyLimits", keyLimits},
	{"Versions", versions},
	{"Versioning", versioning},
	{"VersioningSuspended", versioningSuspended},
	{"VersionsDeleted", versionsDeleted},
	{"VersionsPurged", versionsPurged},
	{"VersionsConditions", versionsConditions},
	{"VersionsCopied", versionsCopied},
	{"ListVersions", listVersions},
	{"Bodies", bodies},
	{"BodyKeepsOld", bodyKeepsOld},
	{"Digest", digest},
	{"ChecksumCall", checksumCall},
	{"TooLarge", tooLarge},
	{"Canceled", canceled},
	{"Delete", deleteObject},
	{"WriteConditions", writeConditions},
	{"DeleteConditions", deleteConditions},
	{"ReadConditions", readConditions},
	{"Ranges", ranges},
	{"Reader", reader},
	{"OvertakenReader", overtakenReader},
	{"ConcurrentCreates", concurrentCreates},
	{"ConcurrentCounter", concurrentCounter},
	{"ConcurrentVersions", concurrentVersions},
	{"List", list},
	{"ListRollUp", listRollUp},
	{"ListAttributes", listAttributes},
	{"ListProperty", listProperty},
	{"ListLong", listLong},
	{"Copy", copies},
	{"CopyConditions", copyConditions},
	{"CopyErrors", copyErrors},
	{"CopyHashed", copyHashed},
	{"CopyOutlivesSource", copyOutlivesSource},
	{"CopyPart", copyPart},
	{"CopyPartErrors", copyPartErrors},
	{"CopyPartOfCopies", copyPartOfCopies},
	{"Upload", upload},
	{"UploadParts", uploadParts},
	{"UploadErrors", uploadErrors},
	{"UploadPartErrors", uploadPartErrors},
	{"UploadRepeated", uploadRepeated},
	{"UploadAborted", uploadAborted},
	{"UploadChecksums", uploadChecksums},
	{"UploadManyParts", uploadManyParts},
	{"Tags", tags},
	{"TagsOfVersions", tagsOfVersions},
	{"TagsErrors", tagsErrors},
	{"Documents", documents},
	{"VersionParts", versionParts},
	{"LockBuckets", lockBuckets},
	{"LockModes", lockModes},
	{"LockEnds", lockEnds},
	{"LockDefault", lockDefault},
	{"LockErrors", lockErrors},
	{"Quotas", quotas},
	{"QuotaVersions", quotaVersions},
	{"QuotaRandom", quotaRandom},
	{"Append", appending},
	{"AppendMany", appendMany},
	{"AppendUpload", appendUpload},
	{"AppendErrors", appendErrors},
	{"AppendChecksums", appendChecksums},
	{"ConcurrentAppends", concurrentAppends},
	{"Rename", renames},
	{"RenameErrors", renameErrors},
	{"RenamePrefix", renamePrefixes},
	{"RenamePrefixErrors", renamePrefixErrors},
	{"RemovePrefix", removePrefixes},
	{"RemovePrefixVersions", removePrefixVersions},
	{"RemovePrefixErrors", removePrefixErrors},
	{"RemovePrefixWhileRead", removePrefixWhileRead},
	{"RemovePrefixUploads", removePrefixUploads},
	{"RemovePrefixMany", removePrefixMany},
	{"RemoveBucket", removeBucket},
	{"RemoveBucketLocked", removeBucketLocked},
	{"ListParts", listParts},
	{"ListUploads", listUploads},
	{"ListUploadsProperty", listUploadsProperty},
}

// suite is one case: an engine and an empty bucket of the case's own.
type suite struct {
	*testing.T
	engine.Engine
	ctx    context.Context
	bucket engine.BucketName
}

func newSuite(t *testing.T, e engine.Engine) *suite {
	s := &suite{T: t, Engine: e, ctx: t.Context()}
	s.bucket = s.newBucket()
	return s
}

// newName draws a bucket's name that no one has used.
func newName() engine.BucketName {
	return engine.BucketName("et-" + strings.ToLower(rand.Text()))
}

// newBucket makes a bucket.
func (s *suite) newBucket() engine.BucketName {
	s.Helper()
	name := newName()
	if _, err := s.CreateBucket(s.ctx, name, engine.CreateBucketOptions{}); err != nil {
		s.Fatalf("create bucket %s: %v", name, err)
	}
	return name
}

// ref names an object in the case's bucket.
func (s *suite) ref(key string) engine.Ref { return engine.Ref{Bucket: s.bucket, Key: engine.Key(key)} }

// ok ends the case if err is not nil.
func (s *suite) ok(err error, format string, args ...any) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", fmt.Sprintf(format, args...), err)
	}
}

// fails reports an error that is not of the given Kind, or is no *engine.Error.
func (s *suite) fails(kind engine.Kind, err error, format string, args ...any) {
	s.Helper()
	what := fmt.Sprintf(format, args...)
	var e *engine.Error
	switch {
	case err == nil:
		s.Errorf("%s: no error; want %v", what, kind)
	case !errors.As(err, &e):
		s.Errorf("%s: %T is no *engine.Error: %v", what, err, err)
	case e.Kind != kind:
		s.Errorf("%s: Kind %v; want %v: %v", what, e.Kind, kind, err)
	}
}

// answers is fails for a Kind that may be none: nil is no error.
func (s *suite) answers(kind *engine.Kind, err error, format string, args ...any) {
	s.Helper()
	if kind != nil {
		s.fails(*kind, err, format, args...)
	} else if err != nil {
		s.Errorf("%s: %v", fmt.Sprintf(format, args...), err)
	}
}

// put stores data.
func (s *suite) put(key string, data []byte) engine.ObjectInfo {
	s.Helper()
	info, err := s.Put(s.ctx, s.ref(key), bytes.NewReader(data), engine.PutOptions{Size: int64(len(data))})
	s.ok(err, "put %q of %d bytes", key, len(data))
	return info
}

// remove deletes an object.
func (s *suite) remove(key string) {
	s.Helper()
	_, err := s.Delete(s.ctx, s.ref(key), engine.DeleteOptions{})
	s.ok(err, "delete %q", key)
}

// get reads an object whole.
func (s *suite) get(key string) ([]byte, engine.ObjectInfo) {
	s.Helper()
	data, info, err := fetch(s.ctx, s.Engine, s.ref(key), engine.OpenOptions{})
	s.ok(err, "get %q", key)
	return data, info
}

// holds checks that an object has the given content.
func (s *suite) holds(key string, want []byte) {
	s.Helper()
	got, info := s.get(key)
	if !bytes.Equal(got, want) {
		s.Errorf("%q holds %s; want %s", key, brief(got), brief(want))
	}
	if info.Size != int64(len(want)) || info.ETag != etag(want) {
		s.Errorf("%q has size %d and ETag %s; want %d and %s", key, info.Size, info.ETag, len(want), etag(want))
	}
}

// absent checks that a key has no object.
func (s *suite) absent(key string) {
	s.Helper()
	_, err := s.Stat(s.ctx, s.ref(key), engine.StatOptions{})
	s.fails(engine.KindNoSuchKey, err, "stat %q", key)
	_, err = s.Open(s.ctx, s.ref(key), engine.OpenOptions{})
	s.fails(engine.KindNoSuchKey, err, "open %q", key)
}

// fetch opens and reads to the end.
func fetch(ctx context.Context, e engine.Engine, ref engine.Ref, o engine.OpenOptions) (data []byte, info engine.ObjectInfo, err error) {
	object, err := e.Open(ctx, ref, o)
	if err != nil {
		return nil, info, err
	}
	data, err = io.ReadAll(object)
	if closeErr := object.Close(); err == nil {
		err = closeErr
	}
	if err == nil && int64(len(data)) != object.Length() {
		err = fmt.Errorf("the object gave %d bytes and says %d", len(data), object.Length())
	}
	return data, object.Info(), err
}

// contentPeriod is the length after which content repeats itself, but for a number.
const contentPeriod = 64 << 10

// content returns bytes that seed and size determine. Long content repeats its beginning, each time with its offset in front: quick to
// make, and no two places are alike.
func content(seed uint64, size int) []byte {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	b := make([]byte, size)
	head := b[:min(size, contentPeriod)]
	_, _ = mathrand.NewChaCha8(key).Read(head) // never fails
	for at := contentPeriod; at < size; at += contentPeriod {
		copy(b[at:], head)
		copy(b[at:], binary.LittleEndian.AppendUint64(nil, uint64(at)))
	}
	return b
}

// etag is that of a plain Put.
func etag(data []byte) engine.ETag {
	sum := md5.Sum(data)
	return engine.ETag(hex.EncodeToString(sum[:]))
}

// brief describes bytes in a message.
func brief(b []byte) string {
	if len(b) <= 40 {
		return fmt.Sprintf("%q", b)
	}
	return fmt.Sprintf("%d bytes (%q…, MD5 %s)", len(b), b[:16], etag(b))
}

// some returns a pointer to a Kind, for tables in which nil means success.
func some(k engine.Kind) *engine.Kind { return &k }

// noTag is an ETag that no content of the suite has.
const noTag engine.ETag = "00000000000000000000000000000000"
