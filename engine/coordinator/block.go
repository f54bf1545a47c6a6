package coordinator

import (
	"bytes"
	"context"
	"io"

	"holdfast/engine"
	"holdfast/engine/erasure"
	"holdfast/engine/extent"
	"holdfast/engine/meta"
)

// storeBlock is storeExtents for a body of a known size that one block of the code holds: it is read whole and then hashed while its shards are made,
// written and committed in one step. Memory is leased and taken by its size.
func (c *Coordinator) storeBlock(ctx context.Context, body io.Reader, size int64, class engine.StorageClass, place Placement, code *erasure.Code, sum []byte) (*stored, error) {
	room := int64(code.Data() * code.PieceOf(int(size))) // with the padding
	lease, err := c.admit(ctx, room+extent.WriteBytes(code, size), body)
	if err != nil {
		return nil, err
	}
	defer lease.Release()
	block := c.Pool.Get(int(room))[:size]
	stuck := false
	defer func() {
		if stuck {
			c.Pool.Leave(block)
		} else {
			c.Pool.Put(block)
		}
	}()
	back := lend(ctx, lease, engine.Client.CutBody)
	n, err := readFull(body, block)
	back()
	if err != nil && err != io.EOF {
		return nil, bodyError(err)
	}
	if err := endBody(body, size, int64(n), err); err != nil {
		return nil, err
	}
	result := &stored{}
	hashed := make(chan struct{})
	go func() {
		defer close(hashed)
		hash := c.newHash(size)
		defer hash.Close()
		hash.Write(block)
		hash.Sum(result.md5[:0])
	}()
	x := meta.Extent{ID: c.Data.NewExtent(), Redundancy: place.Redundancy, Size: size, Class: class, Drives: place.Drives, Reduced: place.Reduced}
	stepCommit.Enter()
	where, stuck, err := extent.WriteWhole(ctx, extent.Config{
		Stores: c.Drives, Pool: c.Pool, Code: code, ID: x.ID, Size: size, Drives: x.Drives, Spare: c.Drives.Spare, Out: c.Drives.Out,
	}, block)
	stepCommit.Leave()
	<-hashed
	if err == nil && sum != nil && !bytes.Equal(sum, result.md5[:]) {
		err = engine.E(engine.KindBadDigest, "the content's MD5 is %x", result.md5)
	}
	if err != nil {
		c.condemn([]meta.Extent{x})
		return nil, err
	}
	x.Drives, x.Missing = where.Drives, where.Missing
	result.data = meta.Data{Size: size, Extents: []meta.Extent{x}}
	return result, nil
}
