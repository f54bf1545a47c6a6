package sigv4

import (
	"net/http"
	"testing"
	"time"
)

// TestHeaderTime reads the dates that clients sign with: x-amz-date goes before Date, which some write with a zone in digits.
func TestHeaderTime(t *testing.T) {
	want := time.Date(2026, 11, 28, 12, 50, 3, 0, time.UTC)
	for _, c := range []struct {
		header http.Header
		ok     bool
	}{
		{http.Header{"X-Amz-Date": {"20261128T125003Z"}}, true},
		{http.Header{"X-Amz-Date": {"20261128T125003Z"}, "Date": {"Thu, 01 Jan 1970 00:00:00 GMT"}}, true},
		{http.Header{"Date": {"Sat, 28 Nov 2026 12:50:03 GMT"}}, true},
		{http.Header{"Date": {"Sat, 28 Nov 2026 12:50:03 -0000"}}, true}, // botocore, when it is given a Date
		{http.Header{"Date": {"Sat, 28 Nov 2026 13:50:03 +0100"}}, true},
		{http.Header{"Date": {"20261128T125003Z"}}, true},
		{http.Header{"Date": {"yesterday"}}, false},
		{http.Header{"Date": {"Sat, 28 Nov 2026 12:50:03 GMT", "Sat, 28 Nov 2026 12:50:03 GMT"}}, false},
		{http.Header{"X-Amz-Date": {"Sat, 28 Nov 2026 12:50:03 GMT"}}, true}, // Version 2 has it so
		{http.Header{}, false},
	} {
		when, err := headerTime(&http.Request{Header: c.header})
		if c.ok != (err == nil) || c.ok && !when.Equal(want) {
			t.Errorf("%v is %v, %v", c.header, when, err)
		}
	}
}
