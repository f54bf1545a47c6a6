package observe

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"time"
)

func TestRequestID(t *testing.T) {
	seen := map[RequestID]bool{}
	for range 1000 {
		id := NewRequestID()
		if len(id) != 16 || seen[id] {
			t.Fatalf("id %q", id)
		}
		seen[id] = true
	}
	ctx := WithRequest(context.Background(), "R1")
	if RequestOf(ctx) != "R1" || RequestOf(context.Background()) != "" {
		t.Fatal("the context does not carry the id")
	}
}

func TestAccessLog(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	a := Access{Gateway: "s3", Request: "R1", Operation: "PutObject", Bucket: "b", Key: "a\nb", Status: 503, Code: "SlowDown",
		Received: 5, Duration: time.Millisecond}
	a.Log(context.Background(), log)
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || bytes.Count(out.Bytes(), []byte("\n")) != 1 {
		t.Fatalf("not one line: %q %v", out.String(), err)
	}
	if got["key"] != "a\nb" || got["level"] != "WARN" || got["code"] != "SlowDown" || got["received"] != 5.0 {
		t.Fatalf("got %v", got)
	}
	if _, has := got["principal"]; has {
		t.Fatal("an empty field was written")
	}
}
