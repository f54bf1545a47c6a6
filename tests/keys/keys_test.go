package keys_test

import (
	"testing"

	"holdfast/tests/daemontest"
	"holdfast/tests/keys"
)

// TestDaemon runs the keys through the daemon, so that the trees of metadata on drives are asked, too.
func TestDaemon(t *testing.T) {
	d := daemontest.New(t)
	d.Args = []string{"--metrics-address", "off"}
	d.Start()
	keys.Run(t, keys.Options{Endpoint: d.URL(), AccessKey: daemontest.User, SecretKey: daemontest.Password, Pages: []int{1, 2, 7, 1000}, Few: true})
	d.Stop()
}
