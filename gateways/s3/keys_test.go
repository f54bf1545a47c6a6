package s3_test

import (
	"testing"

	"holdfast/tests/keys"
)

// TestEveryKindOfKey puts every kind of key through every operation that takes one.
func TestEveryKindOfKey(t *testing.T) {
	if testing.Short() {
		t.Skip("twenty thousand requests")
	}
	f := start(t)
	keys.Run(t, keys.Options{Endpoint: f.server.URL, AccessKey: accessKey, SecretKey: secretKey})
}
