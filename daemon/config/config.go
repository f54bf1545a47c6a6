// Package config makes one Config of a TOML file, the environment and flags, each outranking the one before.
//
// Promise: an option that is unknown, malformed or not in this build stops the start with a sentence that names it; none is ignored.
//
// The package does not know what a setting does to those who are given it. It opens no listener and touches no drive.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"golang.org/x/sys/unix"

	"holdfast/access"
	"holdfast/engine"
)

// Off disables a listener, or what goes on by itself.
const Off = "off"

// AccessInLog is the access log that goes into the daemon's own.
const AccessInLog = "log"

// DefaultFile is read when no file is named, if it exists.
const DefaultFile = "/etc/holdfast/holdfast.toml"

// Config is everything that a daemon can be told. The tag toml is the key in the file; the environment variable is HOLDFAST_ and the key
// in upper case; the flag is the key with hyphens. The tag help is the manual.
type Config struct {
	Drives         []string `toml:"drives" help:"folders of the drives, normally mount points; {1...4} stands for 1, 2, 3, 4. MINIO_VOLUMES is an alias of the variable. Their absolute paths are kept for the node's life; the order is free. Drives that holdfast drive added need not be named, and those that it removed may be"`
	State          string   `toml:"state" help:"folder of the node's own state; put it on another device than the drives, in any case not inside one. Default: /var/lib/holdfast for root, else $XDG_STATE_HOME/holdfast or ~/.local/state/holdfast"`
	S3Address      string   `toml:"s3_address" help:"where S3 is served: host:port, :port, or off. Default :9000"`
	S3Domains      string   `toml:"s3_domains" help:"domains whose subdomains are buckets, separated by spaces or commas: with s3.example.com the bucket b is at b.s3.example.com, too. DNS must lead all names below them here. Default: none, buckets are in the path. MINIO_DOMAIN is an alias of the variable"`
	CertsDir       string   `toml:"certs_dir" help:"folder of certificates; with it the port of S3 speaks TLS alone. public.crt and private.key in it are the default pair, in PEM; each subfolder with such a pair serves the names in its certificate. Changes are taken over within ten seconds, and on SIGHUP. Default: none, S3 is plain HTTP"`
	S3SignatureV2  string   `toml:"s3_signature_v2" help:"on or off: whether S3 takes requests and forms that older clients sign with Signature Version 2, which does not cover bodies. Default on"`
	PerAddress     string   `toml:"connections_per_address" help:"the most connections that S3 takes from one address at a time, or from one /64 of IPv6; one more is answered 503. A proxy is one address for all its clients. From 1 to 1000000, or off. Whatever is said here, all addresses together get no more than the limit on open files leaves beside the drives. Default 1024"`
	Socket         string   `toml:"socket" help:"unix socket of the local command line, or off. Default: holdfast.sock in the state folder"`
	RootUser       string   `toml:"root_user" help:"access key of the root credential, 3 to 128 characters; given together with the password or not at all. Default: generated at the first start. MINIO_ROOT_USER is an alias of the variable"`
	RootPassword   string   `toml:"root_password" help:"secret key of the root credential, 8 to 128 characters; given together with the user or not at all. Default: generated at the first start. MINIO_ROOT_PASSWORD is an alias of the variable"`
	Region         string   `toml:"region" help:"region that clients sign for. Default us-east-1"`
	Standard       string   `toml:"standard" help:"redundancy of the STANDARD storage class as DATA+PARITY, for what is written from this start on; what is stored keeps its own. Default by the number of drives: 1+0, 1+1, 2+1, 2+2, 3+2, 4+2, 4+3, then four parity shards and at most twelve of data"`
	Reduced        string   `toml:"reduced" help:"redundancy of the REDUCED_REDUNDANCY storage class as DATA+PARITY, with at most the parity of the standard one; for new writes only, too. Default: as many shards as standard has, one of them parity"`
	Memory         string   `toml:"memory" help:"budget of block buffers, such as 256MiB, at least 16MiB; requests wait for it, and are told to slow down. Default: a quarter of the machine's memory, at most 256MiB"`
	ScrubPeriod    string   `toml:"scrub_period" help:"every shard on every drive is read and proven once in this time, such as 720h, from 1h to 8784h; off: only when holdfast scrub start asks for it. Default 720h, which is 30 days"`
	ScrubRate      string   `toml:"scrub_rate" help:"the most that the scrub reads of one drive in a second, such as 64MiB/s, from 1MiB/s to 16GiB/s. Where the period leaves time it reads less, but no less than 1MiB/s. Default 64MiB/s"`
	MoveRate       string   `toml:"move_rate" help:"the most that is moved in a second off drives that leave, see holdfast drive, such as 64MiB/s, from 1MiB/s to 16GiB/s. Default 64MiB/s"`
	FeedHistory    string   `toml:"feed_history" help:"how many changes of a bucket are kept for followers that are behind, from 1000 to 1000000000; one that falls farther behind has to list its bucket anew. Kept are, for as long, prefixes that were removed, with all that lay beneath. While nobody follows a bucket nothing is kept. Default 1000000"`
	LogLevel       string   `toml:"log_level" help:"debug, info, warn or error. Default info"`
	LogFormat      string   `toml:"log_format" help:"text or json. Default text"`
	AccessLog      string   `toml:"access_log" help:"where a line for each request goes: log (among the daemon's own lines, at info), off, or a file, which has them all whatever the log_level, in the log_format, and is opened anew on SIGHUP. Default log"`
	MetricsAddress string   `toml:"metrics_address" help:"where metrics for Prometheus are served at /metrics, to whoever asks and without TLS: host:port, :port, or off; 127.0.0.1:9005 keeps it on this machine. Default off"`
	MetricsAuth    string   `toml:"metrics_auth" help:"who may read the metrics under MinIO's names, below /minio/v2/metrics/ on the port of S3: jwt, for a bearer token as mc admin prometheus generate makes it, or public, for everybody. Default jwt. MINIO_PROMETHEUS_AUTH_TYPE is an alias of the variable"`
	ConsoleAddress string   `toml:"console_address" help:"reserved for the web console, port 9001; this build has none, so only off is possible"`
	WebDAVAddress  string   `toml:"webdav_address" help:"reserved for WebDAV, port 9002; this build has none, so only off is possible"`
	SwiftAddress   string   `toml:"swift_address" help:"reserved for OpenStack Swift, port 9003; this build has none, so only off is possible"`
	RPCAddress     string   `toml:"rpc_address" help:"reserved for other nodes, port 9004; this build has none, so only off is possible"`
	FTPAddress     string   `toml:"ftp_address" help:"reserved for FTP, port 9021; this build has none, so only off is possible"`
	FTPSAddress    string   `toml:"ftps_address" help:"reserved for implicit FTPS, port 9990; this build has none, so only off is possible"`
	SFTPAddress    string   `toml:"sftp_address" help:"reserved for SFTP, port 9022; this build has none, so only off is possible"`

	// Redundancy, ReducedRedundancy, MemoryBytes, Domains, ScrubEvery, ScrubBytes, MoveBytes, FeedChanges and ConnectionsMax are what Standard, Reduced, Memory, S3Domains,
	// ScrubPeriod, ScrubRate, MoveRate, FeedHistory and PerAddress say; a zero redundancy means the default, a zero period that the scrub is off.
	Redundancy        engine.Redundancy `toml:"-"`
	ReducedRedundancy engine.Redundancy `toml:"-"`
	MemoryBytes       int64             `toml:"-"`
	Domains           []string          `toml:"-"`
	ScrubEvery        time.Duration     `toml:"-"`
	ScrubBytes        int64             `toml:"-"` // in a second
	MoveBytes         int64             `toml:"-"` // in a second
	FeedChanges       uint64            `toml:"-"`
	ConnectionsMax    int               `toml:"-"` // from one address; 0: no bound
	// Exposed is the configuration file if it has the root password and all may read it.
	Exposed string `toml:"-"`
}

// Field is one option, for manuals and flags.
type Field struct {
	Key, Environment, Flag, Help string
	List                         bool
	Secret                       bool // not for a command line, which everyone on the machine can read
}

// Fields returns the options in the order of the manual.
func Fields() []Field {
	var fields []Field
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		key := f.Tag.Get("toml")
		if key == "-" {
			continue
		}
		fields = append(fields, Field{
			Key: key, Environment: "HOLDFAST_" + strings.ToUpper(key), Flag: strings.ReplaceAll(key, "_", "-"),
			Help: f.Tag.Get("help"), List: f.Type.Kind() == reflect.Slice, Secret: key == "root_password",
		})
	}
	return fields
}

var aliases = map[string]string{
	"HOLDFAST_ROOT_USER": "MINIO_ROOT_USER", "HOLDFAST_ROOT_PASSWORD": "MINIO_ROOT_PASSWORD", "HOLDFAST_DRIVES": "MINIO_VOLUMES",
	"HOLDFAST_S3_DOMAINS": "MINIO_DOMAIN", "HOLDFAST_METRICS_AUTH": "MINIO_PROMETHEUS_AUTH_TYPE",
}

// Load makes a Config. File "" means DefaultFile if it exists; flags maps keys to values that were given on the command line.
func Load(file string, environ func(string) (string, bool), flags map[string][]string) (*Config, error) {
	c := new(Config)
	if err := c.readFile(file); err != nil {
		return nil, err
	}
	for _, f := range Fields() {
		value, ok := environ(f.Environment)
		if alias := aliases[f.Environment]; !ok && alias != "" {
			value, ok = environ(alias)
		}
		if ok && value != "" {
			c.set(f.Key, strings.Fields(value), value)
		}
		if values, ok := flags[f.Key]; ok {
			c.set(f.Key, values, strings.Join(values, " "))
		}
	}
	return c, c.complete()
}

func (c *Config) readFile(file string) error {
	name := file
	if name == "" {
		name = DefaultFile
	}
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) && file == "" {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the configuration file: %w", err)
	}
	if err := c.decode(b); err != nil {
		return fmt.Errorf("the configuration file %s, %w", name, err)
	}
	if info, err := os.Stat(name); err == nil && info.Mode().Perm()&0o007 != 0 && c.RootPassword != "" {
		c.Exposed = name
	}
	return nil
}

// decode says of an error in which line it is and how the line should read.
func (c *Config) decode(document []byte) error {
	var wrong *toml.DecodeError
	if err := toml.Unmarshal(document, &map[string]any{}); errors.As(err, &wrong) { // no TOML
		line, column := wrong.Position()
		return fmt.Errorf("line %d, column %d: %s", line, column, strings.TrimPrefix(wrong.Error(), "toml: "))
	}
	fields := Fields()
	err := toml.NewDecoder(bytes.NewReader(document)).DisallowUnknownFields().Decode(c)
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) && len(unknown.Errors) > 0 {
		var known []string
		for _, f := range fields {
			known = append(known, f.Key)
		}
		line, _ := unknown.Errors[0].Position()
		key := strings.Join(unknown.Errors[0].Key(), ".")
		if nearest := Nearest(key, known); nearest != "" {
			return fmt.Errorf("line %d: there is no option %s; the nearest is %s", line, key, nearest)
		}
		return fmt.Errorf("line %d: there is no option %s; docs/configuration.md lists them", line, key)
	}
	if !errors.As(err, &wrong) {
		return err
	}
	line, _ := wrong.Position()
	for _, f := range fields {
		switch {
		case !slices.Equal(wrong.Key(), toml.Key{f.Key}):
		case f.List:
			return fmt.Errorf("line %d: %s is a list of texts; write %s = [\"/a\", \"/b\"]", line, f.Key, f.Key)
		default:
			return fmt.Errorf("line %d: %s is a string; write it in quotes: %s = \"…\"", line, f.Key, f.Key)
		}
	}
	return fmt.Errorf("line %d: a value of the wrong type", line)
}

func (c *Config) set(key string, list []string, value string) {
	v := reflect.ValueOf(c).Elem()
	for _, f := range reflect.VisibleFields(v.Type()) {
		if f.Tag.Get("toml") != key {
			continue
		}
		if f.Type.Kind() == reflect.Slice {
			v.FieldByIndex(f.Index).Set(reflect.ValueOf(list))
		} else {
			v.FieldByIndex(f.Index).SetString(value)
		}
	}
}

func defaulted(s *string, value string) {
	if *s == "" {
		*s = value
	}
}

// complete fills in defaults and checks everything.
func (c *Config) complete() (err error) {
	if c.State == "" {
		if c.State, err = defaultState(); err != nil {
			return err
		}
	}
	if c.State, err = filepath.Abs(c.State); err != nil {
		return err
	}
	defaulted(&c.S3Address, ":9000")
	defaulted(&c.Socket, filepath.Join(c.State, "holdfast.sock"))
	defaulted(&c.Region, "us-east-1")
	defaulted(&c.S3SignatureV2, "on")
	defaulted(&c.ScrubPeriod, "720h")
	defaulted(&c.ScrubRate, "64MiB/s")
	defaulted(&c.MoveRate, "64MiB/s")
	defaulted(&c.FeedHistory, "1000000")
	defaulted(&c.PerAddress, "1024")
	defaulted(&c.LogLevel, "info")
	defaulted(&c.LogFormat, "text")
	defaulted(&c.AccessLog, AccessInLog)
	defaulted(&c.MetricsAddress, Off)
	defaulted(&c.MetricsAuth, "jwt")
	if err := c.completeDrives(); err != nil {
		return err
	}
	for _, check := range []func() error{c.checkReserved, c.checkAddresses, c.completePaths, c.checkCredential, c.checkWords, c.parseStandard, c.parseMemory, c.parseDomains, c.parseScrub, c.parseMove, c.parseFeed, c.parseConnections} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) completeDrives() error {
	drives, err := Folders(c.Drives)
	if err == nil {
		c.Drives = drives
	}
	return err
}

// Folders returns the absolute paths that patterns with {1...4} in them stand for.
func Folders(patterns []string) (folders []string, err error) {
	for _, pattern := range patterns {
		expanded, err := expand(pattern)
		if err != nil {
			return nil, err
		}
		for _, p := range expanded {
			if p, err = filepath.Abs(p); err != nil {
				return nil, err
			}
			folders = append(folders, p)
		}
	}
	return folders, nil
}

// expandMax bounds what one argument may stand for.
const expandMax = 1024

// expand replaces {a...b} by each number from a to b, from left to right. Leading zeros of a set the width.
func expand(pattern string) ([]string, error) {
	open := strings.IndexByte(pattern, '{')
	if open < 0 {
		return []string{pattern}, nil
	}
	end := strings.IndexByte(pattern[open:], '}')
	if end < 0 {
		return nil, fmt.Errorf("%s: a brace is not closed; write {1...4}", pattern)
	}
	low, high, ok := strings.Cut(pattern[open+1:open+end], "...")
	from, err1 := strconv.Atoi(low)
	to, err2 := strconv.Atoi(high)
	if !ok || err1 != nil || err2 != nil || from < 0 || from > to || to-from >= expandMax || len(low) > 20 {
		return nil, fmt.Errorf("%s: {%s} is no range; write {1...4}, at most %d long", pattern, pattern[open+1:open+end], expandMax)
	}
	width := 0
	if strings.HasPrefix(low, "0") {
		width = len(low)
	}
	tails, err := expand(pattern[open+end+1:])
	if err != nil {
		return nil, err
	}
	var list []string
	for i := from; i <= to; i++ {
		for _, tail := range tails {
			list = append(list, fmt.Sprintf("%s%0*d%s", pattern[:open], width, i, tail))
		}
	}
	if len(list) > expandMax {
		return nil, fmt.Errorf("%s stands for more than %d folders", pattern, expandMax)
	}
	return list, nil
}

func defaultState() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/lib/holdfast", nil
	}
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "holdfast"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("there is no home folder for the node's state; name one with --state: %w", err)
	}
	return filepath.Join(home, ".local", "state", "holdfast"), nil
}

func (c *Config) checkReserved() error {
	for _, r := range []struct {
		value     *string
		key, what string
	}{
		{&c.ConsoleAddress, "console-address", "the web console"},
		{&c.WebDAVAddress, "webdav-address", "WebDAV"}, {&c.SwiftAddress, "swift-address", "OpenStack Swift"},
		{&c.RPCAddress, "rpc-address", "federation of nodes"}, {&c.FTPAddress, "ftp-address", "FTP"},
		{&c.FTPSAddress, "ftps-address", "FTPS"}, {&c.SFTPAddress, "sftp-address", "SFTP"},
	} {
		defaulted(r.value, Off)
		if *r.value != Off {
			return fmt.Errorf("--%s is %q, but this build lacks %s; leave it off", r.key, *r.value, r.what)
		}
	}
	return nil
}

func (c *Config) checkAddresses() error {
	for _, a := range []struct{ flag, value string }{{"s3-address", c.S3Address}, {"metrics-address", c.MetricsAddress}} {
		if _, port, err := net.SplitHostPort(a.value); a.value != Off && (err != nil || port == "") {
			return fmt.Errorf("--%s is %q; write host:port, :port or off", a.flag, a.value)
		}
	}
	return nil
}

// completePaths makes paths absolute that name a folder or a file.
func (c *Config) completePaths() (err error) {
	if c.CertsDir != "" {
		if c.S3Address == Off {
			return errors.New("--certs-dir is given, but S3, whose certificates these would be, is off; leave one of the two out")
		}
		if c.CertsDir, err = filepath.Abs(c.CertsDir); err != nil {
			return err
		}
	}
	if c.AccessLog != AccessInLog && c.AccessLog != Off {
		c.AccessLog, err = filepath.Abs(c.AccessLog)
	}
	return err
}

func (c *Config) checkCredential() error {
	switch {
	case c.RootUser == "" && c.RootPassword == "":
		return nil
	case c.RootUser == "" || c.RootPassword == "":
		return errors.New("the root user and the root password are given together or not at all")
	}
	return access.Root{AccessKey: c.RootUser, SecretKey: c.RootPassword}.Check()
}

// parseDomains takes names of hosts in lower case, without a port or a leading wildcard.
func (c *Config) parseDomains() error {
	for _, name := range strings.FieldsFunc(c.S3Domains, func(r rune) bool { return r == ',' || r == ' ' }) {
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		for label := range strings.SplitSeq(name, ".") {
			wrong := strings.ContainsFunc(label, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' })
			if wrong || label == "" || len(label) > 63 || len(name) > 253 {
				return fmt.Errorf("--s3-domains has %q, which is no domain; write names such as s3.example.com, without a port or a star", name)
			}
		}
		c.Domains = append(c.Domains, name)
	}
	return nil
}

func (c *Config) checkWords() error {
	if wrong := func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' }; strings.ContainsFunc(c.Region, wrong) || len(c.Region) > 63 {
		return fmt.Errorf("--region is %q; a region has lower-case letters, digits and hyphens, such as us-east-1", c.Region)
	}
	if c.S3SignatureV2 != "on" && c.S3SignatureV2 != Off {
		return fmt.Errorf("--s3-signature-v2 is %q; on and off are possible", c.S3SignatureV2)
	}
	switch c.LogLevel {
	case "debug", "info", "warn", "error":
	default:
		return fmt.Errorf("--log-level is %q; debug, info, warn and error are possible", c.LogLevel)
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		return fmt.Errorf("--log-format is %q; text and json are possible", c.LogFormat)
	}
	switch auth := strings.ToLower(c.MetricsAuth); auth {
	case "jwt", "public":
		c.MetricsAuth = auth
	default:
		return fmt.Errorf("--metrics-auth is %q; jwt and public are possible", c.MetricsAuth)
	}
	return nil
}

func (c *Config) parseStandard() (err error) {
	if c.Redundancy, err = parseRedundancy("standard", c.Standard); err != nil {
		return err
	}
	c.ReducedRedundancy, err = parseRedundancy("reduced", c.Reduced)
	return err
}

// parseRedundancy reads DATA+PARITY; nothing is the zero value.
func parseRedundancy(option, text string) (r engine.Redundancy, err error) {
	if text == "" {
		return r, nil
	}
	data, parity, ok := strings.Cut(text, "+")
	k, err1 := strconv.Atoi(data)
	m, err2 := strconv.Atoi(parity)
	if !ok || err1 != nil || err2 != nil || k < 1 || m < 0 || m > k || k+m > 64 {
		return r, fmt.Errorf("--%s is %q; write DATA+PARITY such as 2+2, with at least as many data as parity shards", option, text)
	}
	return engine.Redundancy{Data: k, Parity: m}, nil
}

// memoryMin is the least budget that large objects can be written with.
const memoryMin = 16 << 20

func (c *Config) parseMemory() error {
	if c.Memory == "" {
		c.MemoryBytes = 256 << 20
		var info unix.Sysinfo_t
		if err := unix.Sysinfo(&info); err == nil {
			c.MemoryBytes = max(min(int64(info.Totalram)*int64(info.Unit)/4, c.MemoryBytes), memoryMin)
		}
		return nil
	}
	n, ok := parseBytes(c.Memory)
	if !ok {
		return fmt.Errorf("--memory is %q; write a number with KiB, MiB or GiB", c.Memory)
	}
	if c.MemoryBytes = n; n < memoryMin {
		return fmt.Errorf("--memory is %q; at least %d MiB are needed", c.Memory, memoryMin>>20)
	}
	return nil
}

// parseBytes reads a number of bytes, at most 1 PiB, with a unit or without.
func parseBytes(text string) (n int64, ok bool) {
	digits := strings.TrimRight(text, "KMGiB")
	n, err := strconv.ParseInt(digits, 10, 64)
	shift, ok := map[string]int{"": 0, "B": 0, "KiB": 10, "MiB": 20, "GiB": 30}[text[len(digits):]]
	if err != nil || !ok || n < 0 || n > 1<<20<<(30-shift) {
		return 0, false
	}
	return n << shift, true
}

// Bounds of the scrub, and of all rates.
const (
	scrubPeriodMin, scrubPeriodMax = time.Hour, 366 * 24 * time.Hour
	rateMin, rateMax               = 1 << 20, 16 << 30
)

func (c *Config) parseScrub() (err error) {
	if c.ScrubPeriod != Off {
		c.ScrubEvery, err = time.ParseDuration(c.ScrubPeriod)
		if err != nil {
			return fmt.Errorf("--scrub-period is %q; write hours such as 720h, or off", c.ScrubPeriod)
		}
		if c.ScrubEvery < scrubPeriodMin || c.ScrubEvery > scrubPeriodMax {
			return fmt.Errorf("--scrub-period is %q; %gh to %gh are possible, or off", c.ScrubPeriod, scrubPeriodMin.Hours(), scrubPeriodMax.Hours())
		}
	}
	c.ScrubBytes, err = parseRate("scrub-rate", c.ScrubRate)
	return err
}

func (c *Config) parseMove() (err error) {
	c.MoveBytes, err = parseRate("move-rate", c.MoveRate)
	return err
}

// parseRate reads bytes in a second.
func parseRate(option, text string) (int64, error) {
	n, ok := parseBytes(strings.TrimSuffix(text, "/s"))
	if !ok {
		return 0, fmt.Errorf("--%s is %q; write bytes in a second such as 64MiB/s", option, text)
	}
	if n < rateMin || n > rateMax {
		return 0, fmt.Errorf("--%s is %q; 1MiB/s to 16GiB/s are possible", option, text)
	}
	return n, nil
}

// Bounds of what is kept for followers.
const feedHistoryMin, feedHistoryMax = 1000, 1_000_000_000

func (c *Config) parseFeed() (err error) {
	if c.FeedChanges, err = strconv.ParseUint(c.FeedHistory, 10, 64); err != nil || c.FeedChanges < feedHistoryMin || c.FeedChanges > feedHistoryMax {
		return fmt.Errorf("--feed-history is %q; write a number of changes from %d to %d", c.FeedHistory, feedHistoryMin, feedHistoryMax)
	}
	return nil
}

// connectionsMax bounds what connections_per_address may say. Its default is four times the 256 that browsers and SDKs of one client come near: load
// generators and proxies run with hundreds of workers, and each has a connection of its own.
const connectionsMax = 1_000_000

func (c *Config) parseConnections() (err error) {
	if c.PerAddress == Off {
		return nil
	}
	if c.ConnectionsMax, err = strconv.Atoi(c.PerAddress); err != nil || c.ConnectionsMax < 1 || c.ConnectionsMax > connectionsMax {
		return fmt.Errorf("--connections-per-address is %q; write a number from 1 to %d, or off", c.PerAddress, connectionsMax)
	}
	return nil
}

// Version is the release, set by the linker.
var Version = "development"

// Platform is the operating system and architecture of this build.
func Platform() string { return runtime.GOOS + "/" + runtime.GOARCH }
