package enginetest

import (
	"fmt"

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
	case 1:
		r.ask("renew owner", fmt.Sprint(bucket, who), bucket, func(i int, e engine.Engine) (any, error) {
			nodes, err := e.RenewOwner(r.ctx, bucket, who[i])
			return len(nodes), err
		})
	case 2:
		r.ask("make temporary", fmt.Sprint(bucket, who), bucket, func(i int, e engine.Engine) (any, error) {
			return e.MakeTemporary(r.ctx, bucket, who[i], engine.MakeFileOptions{})
		})
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
