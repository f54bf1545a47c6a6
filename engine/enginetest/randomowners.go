package enginetest

import (
	"fmt"
	"slices"

	"holdfast/engine"
)

// owners are the numbers that an owner has in both engines.
type owners [2]engine.OwnerID

// owners does something of an owner.
func (r *fileScript) owners() {
	bucket := r.bucket()
	list := r.owned[bucket]
	if len(list) < 2 || r.random.IntN(20) == 0 {
		values, err := r.ask("open owner", string(bucket), bucket, func(_ int, e engine.Engine) (any, error) {
			id, err := e.OpenOwner(r.ctx, bucket, "random")
			return opaque{uint64(id)}, err
		})
		if err == nil && !r.Failed() {
			r.owned[bucket] = append(list, owners{engine.OwnerID(values[0].(opaque).id), engine.OwnerID(values[1].(opaque).id)})
		}
		return
	}
	who := list[r.random.IntN(len(list))]
	switch r.random.IntN(12) {
	case 0:
		r.ask("close owner", fmt.Sprint(bucket, who), bucket, func(i int, e engine.Engine) (any, error) { return nil, e.CloseOwner(r.ctx, bucket, who[i]) })
		if r.random.IntN(4) > 0 { // else it is asked for in vain
			r.owned[bucket] = slices.DeleteFunc(list, func(o owners) bool { return o == who })
		}
	case 1:
		r.renewOwner(bucket, who)
	case 2:
		values, err := r.ask("make temporary", fmt.Sprint(bucket, who), bucket, func(i int, e engine.Engine) (any, error) {
			return e.MakeTemporary(r.ctx, bucket, who[i], engine.MakeFileOptions{})
		})
		if err == nil && !r.Failed() {
			n := twins{values[0].(engine.FileInfo).Node, values[1].(engine.FileInfo).Node}
			r.temporary[bucket], r.regular[bucket] = append(r.temporary[bucket], n), append(r.regular[bucket], n)
		}
	case 3, 4:
		n := r.anyNode(bucket)
		r.ask("release file", fmt.Sprint(bucket, who, n), bucket, func(i int, e engine.Engine) (any, error) {
			return nil, e.ReleaseFile(r.ctx, node(bucket, n, i), who[i])
		})
	case 5, 6:
		r.lock(bucket, who)
	default:
		n, _, _ := r.file(bucket)
		r.ask("hold file", fmt.Sprint(bucket, who, n), bucket, func(i int, e engine.Engine) (any, error) { return e.HoldFile(r.ctx, node(bucket, n, i), who[i]) })
	}
}

func (r *fileScript) renewOwner(bucket engine.BucketName, who owners) {
	r.ask("renew owner", fmt.Sprint(bucket, who), bucket, func(i int, e engine.Engine) (any, error) { return e.RenewOwner(r.ctx, bucket, who[i]) })
}

// renewOwners has all owners live on.
func (r *fileScript) renewOwners() {
	for _, bucket := range scriptBuckets {
		for _, who := range r.owned[bucket] {
			r.renewOwner(bucket, who)
		}
	}
}

// opaque is an answer that each engine gives in its own way.
type opaque struct{ id uint64 }

func (r *fileScript) lock(bucket engine.BucketName, who owners) {
	n, _, _ := r.file(bucket)
	l := engine.FileLock{
		Holder: r.random.Uint64N(2), Kind: engine.LockKind(r.random.IntN(3)), Mode: engine.LockMode(r.random.IntN(3)), Start: r.random.Int64N(20), Length: r.random.Int64N(10),
	}
	if l.Kind != engine.LockRange {
		l.Start, l.Length = 0, 0
	}
	r.ask("lock file", fmt.Sprint(bucket, who, n, l), bucket, func(i int, e engine.Engine) (any, error) {
		l := l
		l.Owner = who[i]
		_, held, err := e.TestLock(r.ctx, node(bucket, n, i), l)
		if err != nil {
			return held, err
		}
		return held, e.LockFile(r.ctx, node(bucket, n, i), l)
	})
}
