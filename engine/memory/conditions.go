package memory

import (
	"slices"

	"holdfast/engine"
)

// judgeWrite judges the conditions of a write against the current version, which is nil if there is none.
func judgeWrite(c engine.Conditions, current *object) error {
	if current == nil {
		if c.MatchAny || len(c.Match) > 0 {
			return engine.E(engine.KindNoSuchKey, "there is no such object to match")
		}
		return nil
	}
	if c.NoneMatchAny || slices.Contains(c.NoneMatch, current.info.ETag) {
		return engine.E(engine.KindPreconditionFailed, "the object exists with ETag %q", string(current.info.ETag))
	}
	return judgeMatch(c, current)
}

// checkConditions refuses the conditions of reads in a write.
func checkConditions(c engine.Conditions) error {
	if !c.ModifiedSince.IsZero() || !c.UnmodifiedSince.IsZero() {
		return engine.E(engine.KindInvalidArgument, "ModifiedSince and UnmodifiedSince are conditions of reads only")
	}
	return nil
}

// judgeRead judges the conditions of a read.
func judgeRead(c engine.Conditions, current *object) error {
	if err := judgeMatch(c, current); err != nil {
		return err
	}
	modified := current.info.Modified
	if !c.UnmodifiedSince.IsZero() && modified.After(c.UnmodifiedSince) {
		return engine.E(engine.KindPreconditionFailed, "the object was modified at %v", modified)
	}
	if c.NoneMatchAny || slices.Contains(c.NoneMatch, current.info.ETag) {
		return engine.E(engine.KindNotModified, "the object has ETag %q", string(current.info.ETag))
	}
	if !c.ModifiedSince.IsZero() && !modified.After(c.ModifiedSince) {
		return engine.E(engine.KindNotModified, "the object was modified at %v", modified)
	}
	return nil
}

// judgeMatch judges what reads and writes have in common.
func judgeMatch(c engine.Conditions, current *object) error {
	info := &current.info
	switch {
	case len(c.Match) > 0 && !slices.Contains(c.Match, info.ETag):
		return engine.E(engine.KindPreconditionFailed, "the object's ETag is %q", string(info.ETag))
	case c.Size != nil && *c.Size != info.Size:
		return engine.E(engine.KindPreconditionFailed, "the object has %d bytes", info.Size)
	case !c.ModifiedAt.IsZero() && c.ModifiedAt.Unix() != info.Modified.Unix():
		return engine.E(engine.KindPreconditionFailed, "the object was modified at %v", info.Modified)
	}
	return nil
}
