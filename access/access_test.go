package access

import (
	"fmt"
	"strings"
	"testing"
)

func TestRoot(t *testing.T) {
	r := Root{AccessKey: "operator", SecretKey: "canary-secret"}
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	secret, p, ok := r.Secret("operator")
	if !ok || secret != "canary-secret" || !p.Root || len(p.ID) != 64 {
		t.Fatalf("got %q %+v %v", secret, p, ok)
	}
	for _, key := range []string{"", "operato", "operator2", "OPERATOR"} {
		if _, _, ok := r.Secret(key); ok {
			t.Errorf("key %q was accepted", key)
		}
	}
	if _, _, ok := (Root{}).Secret(""); ok {
		t.Error("an empty root accepts the empty key")
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(verb, r); strings.Contains(s, "canary") {
			t.Errorf("%s shows the secret: %s", verb, s)
		}
	}
}

func TestRootCheck(t *testing.T) {
	for _, r := range []Root{
		{}, {AccessKey: "ab", SecretKey: "long enough"}, {AccessKey: "abc", SecretKey: "short"}, {AccessKey: "a/b", SecretKey: "long enough"},
		{AccessKey: "a b", SecretKey: "long enough"}, {AccessKey: strings.Repeat("a", 129), SecretKey: "long enough"},
	} {
		if r.Check() == nil {
			t.Errorf("%v was accepted", r)
		}
	}
}
