package s3_test

import (
	"testing"

	"holdfast/tests/keys"
)

// TestEveryKindOfKey puts every kind of key through every operation that takes one.
func TestEveryKindOfKey(t *testing.T) {
	f := start(t)
	o := keys.Options{Endpoint: f.server.URL, AccessKey: accessKey, SecretKey: secretKey}
	if testing.Short() {
		o.Pages, o.Few = []int{1, 7, 1000}, true
	}
	keys.Run(t, o)
}
