// Package daemon wires the storage, the sessions and the gateways of a node together, starts them, and stops them in order.
//
// Promise: when it says that it is ready, everything that it names listens; when it stops, requests in progress are answered first.
//
// The package opens the node, the door and the gateways and hands each what it needs. It does not know how a node is made of drives, groups
// and keepers (engine/node), what a request means (gateways), or where a setting came from (daemon/config).
package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"holdfast/access"
	"holdfast/access/session"
	"holdfast/daemon/certs"
	"holdfast/daemon/config"
	"holdfast/engine"
	"holdfast/engine/node"
	"holdfast/gateways"
	gatewaymetrics "holdfast/gateways/metrics"
	"holdfast/gateways/s3"
	"holdfast/observe"
	"holdfast/observe/metrics"
)

// drainTime is how long requests in progress may take once the daemon was told to stop.
const drainTime = 10 * time.Second

// Status is what `holdfast status` shows.
type Status struct {
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	S3      string    `json:"s3"`
	TLS     bool      `json:"s3_tls"` // S3 is served over TLS alone
	node.Status
}

type daemon struct {
	config  *config.Config
	logger  *slog.Logger
	node    *node.Node
	started time.Time
	certs   *certs.Folder  // nil: S3 is served without TLS
	access  *observe.File  // nil: access records go elsewhere
	hangups chan os.Signal // nil: SIGHUP ends the daemon
	s3      net.Listener
	local   net.Listener
	metrics net.Listener
	servers []*http.Server
	serving sync.WaitGroup // one for each server
	files   openFiles
	// admission is that of S3; the command line and the metrics have few clients.
	admission *gateways.Admission
	gate      sync.RWMutex // held for reading by each request, and for good by stop
}

// Check says what of the configuration no daemon could be started with. Of all folders it looks at the node's state alone, which knows the drives that
// were added and removed.
func Check(c *config.Config) error {
	if len(c.Drives) == 0 {
		return errors.New("no drives are named; write for example: holdfast server /srv/drive{1...4}")
	}
	if _, err := node.Check(c.Drives, engine.Redundancy{}); err != nil {
		return err
	}
	drives := node.Paths(c.State, c.Drives)
	standard, err := node.Check(drives, c.Redundancy)
	if err == nil {
		_, err = node.CheckReduced(drives, standard, c.ReducedRedundancy)
	}
	return err
}

// Run runs a daemon until ctx ends, then stops it. Out is told, in words, where everything is; terminal says that a person reads it.
// What can be refused is refused before anything is made.
func Run(ctx context.Context, c *config.Config, out io.Writer, terminal bool) error {
	d := &daemon{config: c, logger: logger(c), started: time.Now()}
	processors(len(c.Drives))
	settings := node.Config{
		State: c.State, Drives: c.Drives, Standard: c.Redundancy, Reduced: c.ReducedRedundancy, Memory: c.MemoryBytes, Logger: d.logger,
		ScrubPeriod: c.ScrubEvery, ScrubRate: c.ScrubBytes, MoveRate: c.MoveBytes, FeedHistory: c.FeedChanges, Locked: d.record,
	}
	for _, check := range []func() error{
		func() error { return Check(c) }, d.admit, func() error { return checkFolders(c) }, func() error { return node.Examine(settings) },
		d.openCerts, func() error { return d.listenS3(ctx) }, func() error { return d.listenMetrics(ctx) },
	} {
		if err := check(); err != nil {
			return err
		}
	}
	defer d.closeListeners()
	defer d.catchHangups()()
	root, file, fresh, err := d.open(ctx, settings)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		d.logger.Warn("stopped before everything was open; the next start goes on from there")
		return nil
	}
	if err != nil {
		return err
	}
	access, err := d.openAccess()
	if err != nil {
		return errors.Join(err, d.node.Close())
	}
	defer d.refresh()()
	door := session.NewDoor(session.Config{Engine: d.node, Credentials: root, Log: d.logger})
	registry := metrics.New()
	d.measure(registry)
	gateway := s3.New(s3.Config{Door: door, Region: c.Region, Domains: c.Domains, RefuseV2: c.S3SignatureV2 == config.Off, Log: d.logger, Classes: []engine.StorageClass{engine.ClassReduced}, Access: access, Metrics: registry})
	failed := make(chan error, 3)
	if d.s3 != nil {
		front := &front{daemon: d, gateway: gateway, access: access, limits: gateways.DefaultLimits(),
			metrics: gatewaymetrics.MinIO(d.metricsConfig(registry, root))}
		server := gateways.NewServer(front.handler(), front.limits, d.logger)
		d.serve(server, d.secured(d.s3, front.limits), failed)
	}
	if d.local != nil {
		d.serve(&http.Server{Handler: d.localAPI(), ReadHeaderTimeout: 10 * time.Second}, d.local, failed)
	}
	if d.metrics != nil {
		d.serve(metricsServer(gatewaymetrics.Handler(d.metricsConfig(registry, root))), d.metrics, failed)
	}
	d.announce(out, root.AccessKey, root.SecretKey, file, fresh && terminal)
	notify("READY=1")
	debug.FreeOSMemory() // what the start took and nothing needs any more
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	notify("STOPPING=1")
	d.logger.Info("the daemon stops; requests in progress may end", "within", drainTime)
	err = errors.Join(err, d.stop())
	d.logger.Info("the daemon has stopped")
	return err
}

// admit shares out the files that may be open. It comes before any drive is opened.
func (d *daemon) admit() (err error) {
	d.files, err = shareFiles(len(node.Paths(d.config.State, d.config.Drives)))
	d.admission = gateways.NewAdmission(d.files.connections, d.config.ConnectionsMax)
	return err
}

// open makes the state folder where it is absent, and opens what is in it: the socket, the root credential, the node. If it fails, what it
// made goes again, unless the node has begun to use it.
func (d *daemon) open(ctx context.Context, settings node.Config) (root access.Root, file string, fresh bool, err error) {
	var made []string
	defer func() {
		if err == nil {
			return
		}
		d.closeListeners()
		if fresh {
			_ = os.Remove(file) // nobody was told what is in it; if it stays, the next start takes it
		}
		for _, dir := range slices.Backward(made) {
			_ = os.Remove(dir) // one that is not empty stays
		}
	}()
	if err = makeFolder(d.config.State, &made); err != nil {
		return root, file, fresh, fmt.Errorf("the state folder: %w", err)
	}
	if d.config.Socket != config.Off {
		if d.local, err = listenLocal(ctx, d.config.Socket); err != nil {
			return root, file, fresh, err
		}
	}
	if root, file, fresh, err = credential(d.config); err != nil {
		return root, file, fresh, fmt.Errorf("the root credential: %w", err)
	}
	d.node, err = node.Open(ctx, settings)
	return root, file, fresh, err
}

func (d *daemon) serve(server *http.Server, l net.Listener, failed chan<- error) {
	handler := server.Handler
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !d.gate.TryRLock() {
			http.Error(w, "the daemon stops", http.StatusServiceUnavailable)
			return
		}
		defer d.gate.RUnlock()
		handler.ServeHTTP(w, r)
	})
	d.servers = append(d.servers, server)
	d.serving.Add(1)
	go func() {
		defer d.serving.Done()
		if err := server.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("the listener at %s: %w", l.Addr(), err)
		}
	}()
}

// stop lets requests in progress end, then cuts what is left, and closes the storage once nothing uses it.
func (d *daemon) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	for _, server := range d.servers {
		if err := server.Shutdown(ctx); err != nil {
			d.logger.Warn("requests were cut off", "error", err)
			_ = server.Close() // whatever it says, the listener is closed
		}
	}
	d.serving.Wait()
	d.gate.Lock() // requests that were cut see their connection and their context closed
	return d.node.Close()
}

// record keeps the steps of this process in a file of the state folder, after a word on what a former process that was killed was doing.
func (d *daemon) record() {
	path := filepath.Join(d.config.State, StepsFile)
	if list, err := observe.ReadRecord(path); err == nil {
		var under []string
		for _, s := range list {
			if s.Entered != s.Left {
				under = append(under, s.Name)
			}
		}
		if len(under) > 0 {
			d.logger.Warn("the daemon before this one was killed at work; what it had acknowledged is there", "under_way", under)
		}
	}
	if err := observe.Record(path); err != nil {
		d.logger.Warn("the steps of this process are not recorded; it works without", "error", err)
	}
}

func logger(c *config.Config) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) // one of four words by now
	return slog.New(handler(os.Stderr, c.LogFormat, level))
}

// handler writes records of the level and above in one of the two formats.
func handler(w io.Writer, format string, level slog.Level) slog.Handler {
	options := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.NewJSONHandler(w, options)
	}
	return slog.NewTextHandler(w, options)
}

// StepsFile is where in the state folder the steps of the running daemon, or of the last one, are counted.
const StepsFile = "steps"

// checkFolders refuses what is no folder, and a state folder on a drive: the drive would not be empty, and its loss would take the state along.
func checkFolders(c *config.Config) error {
	drives := node.Paths(c.State, c.Drives)
	for _, dir := range append([]string{c.State}, drives...) {
		if info, err := os.Stat(dir); err == nil && !info.IsDir() {
			what := "drive"
			if dir == c.State {
				what = "the state folder"
			}
			return fmt.Errorf("%s %s is not a folder", what, dir)
		}
	}
	state := resolve(c.State)
	for _, dir := range drives {
		switch below, err := filepath.Rel(resolve(dir), state); {
		case err != nil || below == ".." || strings.HasPrefix(below, "../"):
		case below == ".":
			return fmt.Errorf("the state folder is drive %s; name another with --state", dir)
		default:
			return fmt.Errorf("the state folder %s lies inside drive %s; name another with --state", c.State, dir)
		}
	}
	return nil
}

// resolve follows the symbolic links of a path as far as it exists.
func resolve(dir string) string {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		return real
	}
	if parent := filepath.Dir(dir); parent != dir {
		return filepath.Join(resolve(parent), filepath.Base(dir))
	}
	return dir
}

// makeFolder makes a folder, and those above it that are absent, and adds what it made to made. The names of all are made durable: what the
// folder holds is worth no more than they.
func makeFolder(dir string, made *[]string) error {
	parent := filepath.Dir(dir)
	switch info, err := os.Stat(dir); {
	case err == nil && !info.IsDir():
		return fmt.Errorf("%s is not a folder", dir)
	case err == nil && parent != dir: // made by a start that was interrupted before the name was durable, perhaps
		if err := syncDir(parent); !errors.Is(err, os.ErrPermission) {
			return err
		}
		return nil // somebody else made it
	case err == nil || parent == dir:
		return err
	}
	if err := makeFolder(parent, made); err != nil {
		return err
	}
	switch err := os.Mkdir(dir, 0o700); {
	case err == nil:
		*made = append(*made, dir)
	case !errors.Is(err, os.ErrExist):
		return err
	}
	return syncDir(parent)
}

func (d *daemon) listenS3(ctx context.Context) (err error) {
	if d.config.S3Address == config.Off {
		return nil
	}
	if d.s3, err = new(net.ListenConfig).Listen(ctx, "tcp", d.config.S3Address); err != nil {
		return portError("--s3-address", d.config.S3Address, err)
	}
	return nil
}

// listenLocal opens the socket of the command line. It takes the place of one that a killed daemon left, and of nothing else. The socket
// is made without rights for others, so that there is no moment at which they could connect.
func listenLocal(ctx context.Context, socket string) (net.Listener, error) {
	if conn, err := net.DialTimeout("unix", socket, time.Second); err == nil {
		_ = conn.Close() // it was only to see who is there
		return nil, fmt.Errorf("another daemon answers at %s; stop it, or choose another --state or --socket", socket)
	}
	if info, err := os.Lstat(socket); err == nil {
		if info.Mode().Type() != fs.ModeSocket {
			return nil, fmt.Errorf("%s is there and is no socket; choose another with --socket", socket)
		}
		if err := os.Remove(socket); err != nil {
			return nil, fmt.Errorf("the socket of a former daemon: %w", err)
		}
	}
	umask := syscall.Umask(0o177)
	defer syscall.Umask(umask)
	l, err := new(net.ListenConfig).Listen(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("the socket %s of the command line: %w; choose another with --socket", socket, err)
	}
	return l, nil
}

func portError(flag, address string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("another process listens at %s already; stop it, or choose another address with %s", address, flag)
	}
	return fmt.Errorf("cannot listen at %s: %w; choose another address with %s", address, err, flag)
}

func (d *daemon) closeListeners() {
	for _, l := range []net.Listener{d.s3, d.local, d.metrics} {
		if l != nil {
			_ = l.Close() // servers that were stopped have closed theirs
		}
	}
}

// localAPI is what the command line on this machine asks, over the unix socket that only the daemon's user can open.
func (d *daemon) localAPI() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		status, err := d.node.Status(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		s := Status{Version: config.Version, Started: d.started, S3: config.Off, Status: status}
		if d.s3 != nil {
			s.S3, s.TLS = d.s3.Addr().String(), d.certs != nil
		}
		_ = json.NewEncoder(w).Encode(s) // the client may be gone
	})
	mux.HandleFunc("GET /scrub", d.scrubStatus)
	mux.HandleFunc("POST /scrub", d.scrubStart)
	mux.HandleFunc("POST /drives/add", d.driveAdd)
	mux.HandleFunc("POST /drives/leave", d.driveLeave)
	mux.HandleFunc("POST /drives/keep", d.driveKeep)
	return mux
}

// announce says where everything is, in lines that people and scripts read.
func (d *daemon) announce(out io.Writer, user, password, file string, show bool) {
	var b strings.Builder
	fmt.Fprintf(&b, "holdfast %s is ready\n", config.Version)
	if d.s3 != nil {
		scheme := "http"
		if d.certs != nil {
			scheme = "https"
		}
		fmt.Fprintf(&b, "  S3           %s://%s   region %s\n", scheme, display(d.s3.Addr().String()), d.config.Region)
	} else {
		b.WriteString("  S3           off\n")
	}
	if d.metrics != nil {
		fmt.Fprintf(&b, "  metrics      http://%s/metrics\n", display(d.metrics.Addr().String()))
	}
	fmt.Fprintf(&b, "  command line %s\n", d.config.Socket)
	fmt.Fprintf(&b, "  state        %s\n", d.config.State)
	fmt.Fprintf(&b, "  drives       %s, redundancy %s\n", strings.Join(d.drivePaths(), " "), d.node.Redundancy())
	if file != "" {
		fmt.Fprintf(&b, "  credentials  %s\n", file)
	} else {
		fmt.Fprintf(&b, "  credentials  as configured, user %s\n", user)
	}
	if show {
		fmt.Fprintf(&b, "  generated at this first start, and shown this once:\n    user     %s\n    password %s\n", user, password)
	}
	d.warn(&b)
	_, _ = io.WriteString(out, b.String()) // nobody may be reading
}

// warn says what the operator should know of how safe the data is.
func (d *daemon) warn(b *strings.Builder) {
	redundancy := d.node.Redundancy()
	if strings.HasSuffix(redundancy, "+0") {
		b.WriteString("warning: there is no redundancy; the loss of a drive loses data\n")
	}
	for _, drive := range d.node.Drives() {
		switch drive.State {
		case "out":
			fmt.Fprintf(b, "warning: drive %s is out: %s\n", drive.Path, drive.Problem)
		case "leaving":
			fmt.Fprintf(b, "warning: drive %d, %s, leaves; holdfast drive list shows how far that is\n", drive.Drive, drive.Path)
		}
	}
	if before := d.node.StandardBefore(); before != "" {
		fmt.Fprintf(b, "warning: the redundancy is %s, and was %s; it holds for new writes, and what is stored keeps its own\n", redundancy, before)
	}
	if d.config.Exposed != "" {
		fmt.Fprintf(b, "warning: everybody on this machine may read the root password in %s; chmod o= on it\n", d.config.Exposed)
	}
	if d.certs != nil {
		for _, text := range d.certs.Warnings() {
			fmt.Fprintf(b, "warning: %s\n", text)
		}
	}
	if d.files.limit < d.files.wanted {
		fmt.Fprintf(b, "warning: the process may have %d files open; with %d, which LimitNOFILE= or ulimit -n can give it, no number of objects makes the drives lack one\n", d.files.limit, d.files.wanted)
	}
	if d.metrics != nil && !isLoopback(d.metrics.Addr()) {
		fmt.Fprintf(b, "warning: whoever reaches %s may read the metrics; 127.0.0.1:9005 would keep them on this machine\n", d.metrics.Addr())
	}
	if removed := d.node.Removed(); len(removed) > 0 {
		fmt.Fprintf(b, "warning: %s named, and removed from the node; take that out of the configuration\n", isAre(removed))
	}
	for _, text := range d.deviceWarnings() {
		fmt.Fprintf(b, "warning: %s\n", text)
	}
}

// isAre begins a sentence about some folders.
func isAre(folders []string) string {
	if len(folders) == 1 {
		return "drive " + folders[0] + " is"
	}
	return "drives " + strings.Join(folders, ", ") + " are"
}

// deviceWarnings says what would be lost together. A folder that devices lacks is not at hand. With a single drive there is nothing to choose.
func deviceWarnings(devices map[string]uint64, state string, drives []string, redundant bool) (texts []string) {
	if len(drives) < 2 {
		return nil
	}
	on := map[uint64][]string{}
	for _, dir := range drives {
		if device, ok := devices[dir]; ok {
			on[device] = append(on[device], dir)
		}
	}
	for _, dir := range drives {
		switch list := on[devices[dir]]; {
		case len(list) < 2 || list[0] != dir:
		case len(list) == len(drives) && redundant:
			texts = append(texts, "all drives are on the same device; its loss loses everything, whatever the redundancy")
		default:
			texts = append(texts, fmt.Sprintf("drives %s are on the same device; its loss takes them all", strings.Join(list, ", ")))
		}
	}
	if device, ok := devices[state]; ok && len(on[device]) > 0 {
		texts = append(texts, fmt.Sprintf("the state folder %s is on the same device as %s; its loss takes both", state, strings.Join(on[device], ", ")))
	}
	return texts
}

// display makes an address that listens everywhere one that can be typed.
func display(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort("localhost", port)
	}
	return address
}

// notify tells systemd, see sd_notify(3). Without systemd it does nothing.
func notify(state string) {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return
	}
	if strings.HasPrefix(socket, "@") {
		socket = "\x00" + socket[1:]
	}
	conn, err := net.Dial("unixgram", socket)
	if err != nil {
		return
	}
	_, _ = conn.Write([]byte(state)) // systemd times out and says so
	_ = conn.Close()
}
