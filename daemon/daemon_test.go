package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"holdfast/daemon/config"
	"holdfast/engine"
)

// configure returns the configuration of a daemon with two drives in a folder of its own.
func configure(t *testing.T, change map[string]string) *config.Config {
	t.Helper()
	dir, err := os.MkdirTemp("", "hf") // t.TempDir's paths are too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	flags := map[string][]string{"drives": {dir + "/d{1...2}"}, "state": {dir + "/state"}, "s3_address": {"127.0.0.1:0"}, "log_level": {"error"}}
	for _, d := range []string{"/d1", "/d2"} {
		if err := os.Mkdir(dir+d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for key, value := range change {
		flags[key] = []string{value}
	}
	file := filepath.Join(dir, "holdfast.toml")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file, func(string) (string, bool) { return "", false }, flags)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// running is a daemon in this process. said is what it announced.
type running struct {
	stop func() error
	said string
	s3   string
}

// run starts a daemon and waits until it has announced itself.
func run(t *testing.T, c *config.Config, terminal bool) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended, announced := make(chan error, 1), make(chan string, 1)
	go func() { ended <- Run(ctx, c, announcement(announced), terminal) }()
	var over bool
	stop := func() error {
		cancel()
		if over {
			return nil
		}
		over = true
		return <-ended
	}
	t.Cleanup(func() { _ = stop() }) // the test has looked at the error if it cares
	select {
	case said := <-announced:
		_, after, _ := strings.Cut(said, "://")
		return &running{stop: stop, said: said, s3: strings.Fields(after + " ")[0]}
	case err := <-ended:
		over = true
		t.Fatalf("the daemon did not start: %v", err)
		return nil
	}
}

type announcement chan string

func (a announcement) Write(p []byte) (int, error) {
	a <- string(p)
	return len(p), nil
}

func TestLifeOfADaemon(t *testing.T) {
	messages := systemd(t)
	c := configure(t, nil)
	first := run(t, c, true)
	root, err := read(filepath.Join(c.State, credentialName))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"is ready", c.Drives[0], c.Drives[1], c.State, c.Socket, credentialName, root.SecretKey, "redundancy 1+1", "all drives are on the same device", "the state folder " + c.State + " is on the same device as " + c.Drives[0] + ", " + c.Drives[1]} {
		if !strings.Contains(first.said, want) {
			t.Errorf("the announcement lacks %q:\n%s", want, first.said)
		}
	}
	if got := <-messages; got != "READY=1" {
		t.Errorf("systemd was told %q", got)
	}
	checkHealth(t, first.s3)
	checkStatus(t, c.Socket)
	put(t, first.s3, root.AccessKey, root.SecretKey)
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	if got := <-messages; got != "STOPPING=1" {
		t.Errorf("systemd was told %q", got)
	}

	c.Redundancy = engine.Redundancy{Data: 1}
	second := run(t, c, true)
	if !strings.Contains(second.said, "the redundancy is 1+0, and was 1+1; it holds for new writes") || strings.Contains(first.said, "and was") {
		t.Errorf("another redundancy is not spoken of:\n%s", second.said)
	}
	if strings.Contains(second.said, root.SecretKey) {
		t.Error("the password is shown at the second start")
	}
	get(t, second.s3, root.AccessKey, root.SecretKey)
	other := configure(t, map[string]string{"socket": c.Socket})
	if err := Run(context.Background(), other, io.Discard, false); err == nil || !strings.Contains(err.Error(), "another daemon answers") {
		t.Errorf("a second daemon on the same socket: %v", err)
	}
	if err := second.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(c.Socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

// systemd stands in for the service manager.
func systemd(t *testing.T) <-chan string {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", path)
	messages, ended := make(chan string, 8), make(chan struct{})
	go func() {
		defer close(ended)
		b := make([]byte, 64)
		for {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			messages <- string(b[:n])
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-ended
	})
	return messages
}

func checkHealth(t *testing.T, address string) {
	for _, c := range []struct {
		method, path string
		want         int
	}{
		{"GET", "live", 200}, {"HEAD", "live", 200}, {"GET", "ready", 200}, {"GET", "cluster", 200}, {"HEAD", "cluster", 200},
		{"POST", "live", 405}, {"GET", "other", 404},
	} {
		request, err := http.NewRequest(c.method, "http://"+address+"/minio/health/"+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != c.want {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, response.StatusCode, c.want)
		}
	}
}

func checkStatus(t *testing.T, socket string) {
	info, err := os.Stat(socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the socket: %v, %v", info, err)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	var status Status
	askLocal(t, client, http.MethodGet, "/status", http.StatusOK, &status)
	if status.Redundancy != "1+1" || len(status.Drives) < 2 || status.Version != config.Version || !status.Protected() {
		t.Errorf("got %+v", status)
	}
	for _, wrong := range []string{"99", "3", "x", "-1"} { // 3 is the witness
		askLocal(t, client, http.MethodPost, "/scrub?drive="+wrong, http.StatusNotFound, nil)
	}
	var begun []ScrubStart
	if askLocal(t, client, http.MethodPost, "/scrub?drive=2", http.StatusOK, &begun); len(begun) != 1 || begun[0].Drive != 2 || begun[0].Problem != "" {
		t.Errorf("a scrub of one drive: %+v", begun)
	}
	if askLocal(t, client, http.MethodPost, "/scrub", http.StatusOK, &begun); len(begun) != 2 {
		t.Errorf("a scrub of all: %+v", begun)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var scrub Scrub
		askLocal(t, client, http.MethodGet, "/scrub", http.StatusOK, &scrub)
		if scrub.Period == "720h" && scrub.Rate == "64MiB/s" && len(scrub.Drives) == 2 && scrub.Drives[0].Scrub.Last != nil && scrub.Drives[1].Scrub.Last != nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the scrub is not complete: %+v", scrub)
		}
	}
}

// askLocal asks the socket and reads the answer, unless it is to be an error.
func askLocal(t *testing.T, client *http.Client, method, path string, want int, answer any) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://local"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != want {
		t.Fatalf("%s %s: %s", method, path, response.Status)
	}
	if answer == nil {
		return
	}
	if err := json.NewDecoder(response.Body).Decode(answer); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
}

func client(t *testing.T, address, user, password string) *minio.Client {
	c, err := minio.New(address, &minio.Options{Creds: credentials.NewStaticV4(user, password, "")})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func put(t *testing.T, address, user, password string) {
	c := client(t, address, user, password)
	if err := c.MakeBucket(t.Context(), "first", minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutObject(t.Context(), "first", "key", strings.NewReader("content"), 7, minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client(t, address, user, password+"x").BucketExists(t.Context(), "first"); err == nil {
		t.Error("a wrong password is let in")
	}
}

func get(t *testing.T, address, user, password string) {
	object, err := client(t, address, user, password).GetObject(t.Context(), "first", "key", minio.GetObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer object.Close()
	if b, err := io.ReadAll(object); err != nil || string(b) != "content" {
		t.Errorf("got %q, %v", b, err)
	}
}

// TestRefusedStarts has starts that must fail before a drive is touched.
func TestRefusedStarts(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	document := filepath.Join(t.TempDir(), "document")
	if err := os.WriteFile(document, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "song"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key, value, want string
	}{
		{"s3_address", taken.Addr().String(), "choose another address with --s3-address"},
		{"socket", document, "no socket"},
		{"socket", filepath.Join(full, "absent", "socket"), "choose another with --socket"},
		{"drives", document, "not a folder"},
		{"drives", filepath.Join(full, "absent"), "create it or mount it; Holdfast makes no drive folders"},
		{"drives", full, "name an empty folder"},
		{"state", "d1/state", "lies inside drive"},
		{"state", "d2", "the state folder is drive"},
	} {
		change := map[string]string{}
		if c.key != "state" {
			change[c.key] = c.value
		}
		configured := configure(t, change)
		dir := filepath.Dir(configured.State)
		if c.key == "state" {
			configured.State = filepath.Join(dir, c.value)
		}
		if err := Run(context.Background(), configured, io.Discard, false); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %v; want %q", c.key, c.value, err, c.want)
		}
		for _, drive := range []string{"d1", "d2"} {
			if names, _ := os.ReadDir(filepath.Join(dir, drive)); len(names) > 0 {
				t.Errorf("%s %s: the drive was written to", c.key, c.value)
			}
		}
		if _, err := os.Stat(filepath.Join(dir, "state")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s %s: a state folder is left behind: %v", c.key, c.value, err)
		}
	}
	if b, err := os.ReadFile(document); err != nil || string(b) != "precious" {
		t.Errorf("the file in the socket's place is %q, %v", b, err)
	}
}

func TestDeviceWarnings(t *testing.T) {
	drives := []string{"/a", "/b", "/c"}
	for _, c := range []struct {
		devices   [4]uint64 // of the state folder and the drives
		redundant bool
		want      string
	}{
		{[4]uint64{1, 2, 3, 4}, true, ""},
		{[4]uint64{1, 2, 3, 2}, true, "drives /a, /c are on the same device; its loss takes them all"},
		{[4]uint64{2, 2, 3, 2}, true, "drives /a, /c are on the same device; its loss takes them all\nthe state folder /s is on the same device as /a, /c; its loss takes both"},
		{[4]uint64{1, 2, 2, 2}, true, "all drives are on the same device; its loss loses everything, whatever the redundancy"},
		{[4]uint64{1, 2, 2, 2}, false, "drives /a, /b, /c are on the same device; its loss takes them all"},
	} {
		devices := map[string]uint64{"/s": c.devices[0], "/a": c.devices[1], "/b": c.devices[2], "/c": c.devices[3]}
		if got := strings.Join(deviceWarnings(devices, "/s", drives, c.redundant), "\n"); got != c.want {
			t.Errorf("%v: %q, want %q", c.devices, got, c.want)
		}
	}
}

func TestCredentialIsKeptAndNotReplaced(t *testing.T) {
	c := &config.Config{State: t.TempDir()}
	first, file, fresh, err := credential(c)
	if err != nil || !fresh || first.Check() != nil {
		t.Fatalf("fresh %t, %v", fresh, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info, err)
	}
	if again, _, fresh, err := credential(c); err != nil || fresh || again.SecretKey != first.SecretKey {
		t.Errorf("the second start: fresh %t, %v", fresh, err)
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := credential(c); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that others may read: %v", err)
	}
	if err := errors.Join(os.Chmod(file, 0o600), os.WriteFile(file, []byte("secret canary"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := credential(c); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("a damaged file: %v", err)
	}
	if b, _ := os.ReadFile(file); string(b) != "secret canary" {
		t.Errorf("the damaged file was replaced by %q", b)
	}
}

func FuzzCredential(f *testing.F) {
	f.Add("HOLDFAST_ROOT_USER=user\nHOLDFAST_ROOT_PASSWORD=password\n")
	f.Fuzz(func(t *testing.T, text string) {
		if root, err := parse(text); err == nil && root.Check() != nil {
			t.Errorf("%q is accepted", text)
		}
	})
}
