package enginetest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"holdfast/engine"
)

// item is a key or a common prefix of a listing.
type item struct {
	name   string
	common bool
}

// naive lists keys by the words of engine.ListOptions: all of it, without pages.
func naive(keys []string, prefix, delimiter, after string) (items []item) {
	for _, key := range keys {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		i := item{name: key}
		if at := strings.Index(key[len(prefix):], delimiter); delimiter != "" && at >= 0 {
			i = item{name: key[:len(prefix)+at+len(delimiter)], common: true}
		}
		// A key greater than after stands; a common prefix stands if a key greater than after is rolled up into it and it is not after itself.
		if key > after && !(i.common && i.name == after) {
			items = append(items, i)
		}
	}
	slices.SortFunc(items, func(a, b item) int { return strings.Compare(a.name, b.name) })
	return slices.Compact(items)
}

// merged returns a page's objects and prefixes in one order, after checking that each is in order and the page as its fields say.
func merged(p engine.ObjectPage, limit int) (items []item, err error) {
	for _, o := range p.Objects {
		items = append(items, item{name: string(o.Key)})
	}
	for _, prefix := range p.Prefixes {
		items = append(items, item{name: prefix, common: true})
	}
	inOrder := slices.IsSortedFunc(items[:len(p.Objects)], func(a, b item) int { return strings.Compare(a.name, b.name) }) && slices.IsSorted(p.Prefixes)
	slices.SortFunc(items, func(a, b item) int { return strings.Compare(a.name, b.name) })
	switch {
	case !inOrder:
		return items, fmt.Errorf("the page is not in byte order: %+v", items)
	case len(items) > limit:
		return items, fmt.Errorf("the page has %d items, at most %d were asked for", len(items), limit)
	case p.Truncated && len(items) < limit:
		return items, fmt.Errorf("the page has %d of %d items and says that it is truncated", len(items), limit)
	case len(items) > 0 && p.Last != items[len(items)-1].name:
		return items, fmt.Errorf("the page's last item is %+q, it says %+q", items[len(items)-1].name, p.Last)
	}
	return items, nil
}

// lists checks a listing, page by page, against the naive one.
func (s *suite) lists(keys []string, o engine.ListOptions) {
	s.Helper()
	want := naive(keys, o.Prefix, o.Delimiter, o.After)
	limit := o.Max
	if limit == 0 {
		limit = engine.PageMax
	}
	first := o
	var got []item
	for {
		page, err := s.List(s.ctx, s.bucket, o)
		s.ok(err, "list %+q", fmt.Sprint(o))
		items, err := merged(page, limit)
		s.ok(err, "list %+v", o)
		got = append(got, items...)
		if len(got) > len(want) || !page.Truncated {
			break
		}
		o.After = page.Last
	}
	if !slices.Equal(got, want) {
		s.Fatalf("keys %+q\nlist prefix %+q delimiter %+q after %+q in pages of %d:\n got %+v\nwant %+v", keys, first.Prefix, first.Delimiter, first.After, limit, got, want)
	}
}

// fill stores empty objects.
func (s *suite) fill(keys []string) {
	s.Helper()
	const writers = 8
	each(writers, func(w int) {
		for i := w; i < len(keys); i += writers {
			if _, err := s.Put(s.ctx, s.ref(keys[i]), bytes.NewReader(nil), engine.PutOptions{}); err != nil {
				s.Errorf("put %q: %v", keys[i], err)
			}
		}
	})
	if s.Failed() {
		s.FailNow()
	}
}

func list(s *suite) {
	s.lists(nil, engine.ListOptions{})
	s.lists(nil, engine.ListOptions{Prefix: "a", Delimiter: "/", After: "b", Max: 1})
	s.fill(strangeKeys)
	for _, delimiter := range []string{"", "/", "//", "a", "/b", "\x00", "ä", "zz"} {
		for _, prefix := range []string{"", "a", "a/", "a//", "/", "//", ".", "\xc3", "z"} {
			for _, limit := range []int{0, 1, 2, 7} {
				s.lists(strangeKeys, engine.ListOptions{Prefix: prefix, Delimiter: delimiter, Max: limit})
			}
			for _, after := range []string{"a", "a/", "a//", "a/\xff", "/", "\xff", "a/b", "a0", "A"} {
				s.lists(strangeKeys, engine.ListOptions{Prefix: prefix, Delimiter: delimiter, After: after, Max: 3})
			}
		}
	}
}

// listRollUp spells out what continuing at a common prefix means.
func listRollUp(s *suite) {
	keys := []string{"a", "b/1", "b/2", "b/3", "b0", "c/1"}
	s.fill(keys)
	for _, c := range []struct {
		after             string
		objects, prefixes []string
	}{
		{"", []string{"a", "b0"}, []string{"b/", "c/"}},
		{"a", []string{"b0"}, []string{"b/", "c/"}},
		{"b", []string{"b0"}, []string{"b/", "c/"}},
		{"b/", []string{"b0"}, []string{"c/"}},
		{"b/1", []string{"b0"}, []string{"b/", "c/"}},
		{"b/3", []string{"b0"}, []string{"c/"}},
		{"b/9", []string{"b0"}, []string{"c/"}},
		{"b0", nil, []string{"c/"}},
		{"c/", nil, nil},
		{"d", nil, nil},
	} {
		page, err := s.List(s.ctx, s.bucket, engine.ListOptions{Delimiter: "/", After: c.after})
		s.ok(err, "list")
		var objects []string
		for _, o := range page.Objects {
			objects = append(objects, string(o.Key))
		}
		if !slices.Equal(objects, c.objects) || !slices.Equal(page.Prefixes, c.prefixes) || page.Truncated {
			s.Errorf("after %q: %q and %q, truncated %v; want %q and %q", c.after, objects, page.Prefixes, page.Truncated, c.objects, c.prefixes)
		}
	}
}

// listAttributes: a listing describes objects as Stat does, the attributes only when they are asked for.
func listAttributes(s *suite) {
	_, err := s.Put(s.ctx, s.ref("k"), strings.NewReader("x"), engine.PutOptions{Size: 1, Attributes: someAttributes, Checksum: func() engine.Checksum {
		return engine.Checksum{Algorithm: "CRC32", Sum: []byte{1, 2, 3, 4}}
	}})
	s.ok(err, "put")
	u := s.start("m", engine.StartUploadOptions{Attributes: someAttributes})
	s.complete("m", u.ID, s.part("m", u.ID, 7, content(1, 20_000)))
	for _, full := range []bool{true, false} {
		page, err := s.List(s.ctx, s.bucket, engine.ListOptions{Attributes: full})
		s.ok(err, "list")
		if len(page.Objects) != 2 {
			s.Fatalf("the listing has %+v", page)
		}
		for _, listed := range page.Objects {
			want, err := s.Stat(s.ctx, s.ref(string(listed.Key)), engine.StatOptions{})
			s.ok(err, "stat")
			if !full {
				want.Attributes, want.Checksum, want.Parts = engine.Attributes{}, engine.Checksum{}, 0
			}
			s.same("the listing", listed, want)
		}
	}
}

// alphabets make keys that collide, nest and touch in as many ways as possible.
var alphabets = [][]string{
	{"a", "/"}, {"a", "b", "/", "//"}, {"/", ".", ".."}, {"a", "/", "0", "-"}, {"\x00", "/", "\x01", "0"}, {"ä", "a", "/", "é/"}, {"\U0010ffff", "/", "\ufffd", "."},
}

func someText(rng *rand.Rand, alphabet []string, length int) string {
	var b strings.Builder
	for range rng.IntN(length + 1) {
		b.WriteString(alphabet[rng.IntN(len(alphabet))])
	}
	return b.String()
}

// listProperty compares listings of random keys with the naive listing, before and after deletions.
func listProperty(s *suite) {
	for seed, alphabet := range alphabets {
		s.bucket = s.newBucket()
		rng := rand.New(rand.NewPCG(uint64(seed), 1))
		set := map[string]bool{}
		for range 40 {
			if key := someText(rng, alphabet, 8); key != "" {
				set[key] = true
			}
		}
		var keys []string
		for key := range set {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		s.fill(keys)
		s.listsRandomly(rng, alphabet, keys)
		var left []string
		for _, key := range keys {
			if rng.IntN(2) == 0 {
				s.remove(key)
			} else {
				left = append(left, key)
			}
		}
		s.listsRandomly(rng, alphabet, left)
	}
}

func (s *suite) listsRandomly(rng *rand.Rand, alphabet, keys []string) {
	s.Helper()
	for range 150 {
		o := engine.ListOptions{Prefix: someText(rng, alphabet, 3), After: someText(rng, alphabet, 5), Max: rng.IntN(6)}
		if rng.IntN(3) > 0 {
			o.After = ""
		} else if len(keys) > 0 && rng.IntN(2) == 0 {
			o.After = keys[rng.IntN(len(keys))]
		}
		switch rng.IntN(3) {
		case 0:
			o.Delimiter = "/"
		case 1:
			o.Delimiter = someText(rng, alphabet, 2)
		}
		s.lists(keys, o)
	}
}

// listLong has more than one full page.
func listLong(s *suite) {
	var keys []string
	for i := range engine.PageMax + 20 {
		keys = append(keys, fmt.Sprintf("%d/%04d", i%2, i))
	}
	s.fill(keys)
	s.lists(keys, engine.ListOptions{})
	s.lists(keys, engine.ListOptions{Delimiter: "/"})
	s.lists(keys, engine.ListOptions{Delimiter: "/", Max: 1})
	s.lists(keys, engine.ListOptions{Max: 333})
	s.lists(keys, engine.ListOptions{Prefix: "1/", Max: 100})
}
