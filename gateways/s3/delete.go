package s3

import (
	"net/http"
	"strings"
	"sync"

	"holdfast/engine"
	"holdfast/gateways/s3/wire"
)

// deleteObject is DeleteObject.
func deleteObject(c *call) error {
	if err := c.checkVersion(); err != nil {
		return err
	}
	conditions, err := deleteIf(c.r.Header)
	if err != nil {
		return err
	}
	bypass, err := c.bypass()
	if err != nil {
		return err
	}
	if force, err := c.force(); err != nil {
		return err
	} else if force {
		return c.deletePrefix()
	}
	result, err := c.engine.Delete(c.ctx, c.ref(), engine.DeleteOptions{If: conditions, Bypass: bypass})
	if err != nil {
		return err
	}
	if result.Version != "" {
		c.w.Header().Set("X-Amz-Version-Id", string(result.Version))
	}
	if result.Marker {
		c.w.Header().Set("X-Amz-Delete-Marker", "true")
	}
	return c.empty(http.StatusNoContent)
}

// deletesAtOnce is how many objects of one DeleteObjects are deleted beside each other: their commits share a sync.
const deletesAtOnce = 32

// deleteObjects is DeleteObjects: an answer for each key, in the order of the request.
func deleteObjects(c *call) error {
	document, err := c.document(wire.ListBytesMax, true)
	if err != nil {
		return err
	}
	request, err := wire.ParseDelete(document)
	if err != nil {
		return err
	}
	bypass, err := c.bypass()
	if err != nil {
		return err
	}
	if _, err := c.engine.StatBucket(c.ctx, c.bucket); err != nil {
		return err
	}
	results, failures := c.deleteEach(request.Objects, bypass)
	d := wire.NewDoc("DeleteResult")
	for i, o := range request.Objects {
		if f := failures[i]; f != nil {
			d.Open("Error")
			d.Text("Key", o.Key)
			d.TextIf("VersionId", o.Version)
			d.Text("Code", f.code)
			d.Text("Message", f.message)
			d.Close()
		} else if !request.Quiet {
			d.Open("Deleted")
			d.Text("Key", o.Key)
			d.TextIf("VersionId", o.Version)
			if r := results[i]; r.Marker {
				d.Bool("DeleteMarker", true)
				d.Text("DeleteMarkerVersionId", string(r.Version))
			}
			d.Close()
		}
	}
	return c.answer(d)
}

// deleteEach deletes the objects, a few at a time, and returns what became of each or went wrong.
func (c *call) deleteEach(objects []wire.DeleteObject, bypass bool) ([]engine.DeleteResult, []*apiFault) {
	results := make([]engine.DeleteResult, len(objects))
	failures, reasons := make([]*apiFault, len(objects)), make([]error, len(objects))
	var wait sync.WaitGroup
	next := make(chan int)
	for range min(deletesAtOnce, len(objects)) {
		wait.Go(func() {
			for i := range next {
				var err error
				if results[i], err = c.deleteOne(objects[i], bypass); err != nil {
					failures[i], reasons[i] = faultOf(err, c), err
				}
			}
		})
	}
	for i := range objects {
		next <- i
	}
	close(next)
	wait.Wait()
	for i, f := range failures {
		if f != nil && f.status >= 500 && f.status != http.StatusNotImplemented { // the answer has status 200, so the access record says nothing of it
			c.g.Log.Warn("a deletion failed, perhaps with others of its request", "request", string(c.record.Request), "key", objects[i].Key, "error", reasons[i])
			break
		}
	}
	return results, failures
}

func (c *call) deleteOne(o wire.DeleteObject, bypass bool) (r engine.DeleteResult, err error) {
	if err := checkVersionID("VersionId", o.Version); err != nil {
		return r, err
	}
	key := engine.Key(o.Key)
	if err := engine.CheckKey(key); err != nil {
		return r, err
	}
	conditions := engine.Conditions{Size: o.Size, ModifiedAt: o.Modified}
	if o.ETag == "*" {
		conditions.MatchAny = true
	} else if o.ETag != "" {
		conditions.Match = []engine.ETag{engine.ETag(strings.Trim(o.ETag, `"`))}
	}
	return c.engine.Delete(c.ctx, engine.Ref{Bucket: c.bucket, Key: key, Version: engine.VersionID(o.Version)}, engine.DeleteOptions{If: conditions, Bypass: bypass})
}
