package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	random "math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"holdfast/cli/bench"
)

// benches are the commands below bench. Size and objects are their defaults.
var benches = []struct {
	verb    bench.Verb
	usage   string
	size    string
	objects int
}{
	{bench.Put, "store new objects", "1MiB", 0},
	{bench.Get, "read random objects of those prepared", "1MiB", 500},
	{bench.Stat, "ask for random objects of those prepared", "4KiB", 2000},
	{bench.List, "page through the prepared objects, from the first to the last, over and over", "4KiB", 10000},
	{bench.Delete, "delete the prepared objects, each once", "4KiB", 5000},
	{bench.Mixed, "do all of it, in the shares that --shares says", "1MiB", 500},
}

func benchCommand() *cli.Command {
	command := &cli.Command{
		Name: "bench", Usage: "put a server of S3 under load and measure it",
		Description: "Each command makes what it needs below a prefix of its own, lets clients repeat an operation for a time, prints what came of it, and deletes what it\n" +
			"made. The server may be any that speaks S3. The credential is that of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN), or of\n" +
			"HOLDFAST_ROOT_USER and HOLDFAST_ROOT_PASSWORD, or what --credentials names. Examples:\n\n" +
			"    holdfast bench put --credentials data/state/root-credentials --size 4KiB --clients 32\n" +
			"    holdfast bench get --endpoint https://s3.example.com --ca-file ca.pem --size 4KiB..16MiB --duration 1m --verify\n" +
			"    holdfast bench mixed --shares get=70,put=20,delete=10 --json\n\n" +
			"Ctrl-C ends the load: what was measured until then is printed, and what was made is deleted. A second one ends at once.",
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return noCommand(c)
			}
			return cli.ShowSubcommandHelp(c)
		},
	}
	for _, b := range benches {
		command.Subcommands = append(command.Subcommands, &cli.Command{
			Name: string(b.verb), Usage: b.usage, Flags: benchFlags(b.verb, b.size, b.objects),
			Action: func(c *cli.Context) error {
				if err := noArguments(c); err != nil {
					return err
				}
				plan, err := newBench(c, b.verb)
				if err != nil {
					return usageError{err}
				}
				return runBench(c, plan)
			},
		})
	}
	return command
}

func benchFlags(verb bench.Verb, size string, objects int) []cli.Flag {
	list := []cli.Flag{
		&cli.StringFlag{Name: "endpoint", Value: "http://127.0.0.1:9000", EnvVars: []string{"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"}, Usage: "the server's `ADDRESS`"},
		&cli.StringFlag{Name: "credentials", Usage: "`FILE` with the credential as variables, such as STATE/root-credentials; default the environment"},
		&cli.StringFlag{Name: "region", Value: "us-east-1", EnvVars: []string{"AWS_REGION", "AWS_DEFAULT_REGION"}, Usage: "`REGION` that requests are signed for"},
		&cli.StringFlag{Name: "ca-file", Usage: "`FILE` with the certificates of authorities to trust, in PEM, in place of the system's"},
		&cli.BoolFlag{Name: "insecure", Usage: "trust any certificate"},
		&cli.BoolFlag{Name: "host-style", Usage: "put the bucket into the host's name and not into the path"},
		&cli.StringFlag{Name: "bucket", Value: "holdfast-bench", Usage: "`NAME` of the bucket; if it is not there, it is made, and removed in the end"},
		&cli.StringFlag{Name: "prefix", Usage: "`PREFIX` of all keys; what is below it is deleted in the end; default a new one"},
		&cli.StringFlag{Name: "size", Value: size, Usage: "`SIZE` of the objects; 4KiB,1MiB take turns; 4KiB..1MiB are 32 random sizes, as many small as large ones"},
		&cli.IntFlag{Name: "clients", Value: 16, Usage: "`NUMBER` of requests at the same time"},
		&cli.DurationFlag{Name: "duration", Value: 30 * time.Second, Usage: "`TIME` of the load, after the warm-up"},
		&cli.Int64Flag{Name: "requests", Usage: "`NUMBER` of requests after which the load ends, if its time is not over before; 0 for no end"},
		&cli.DurationFlag{Name: "warm-up", Usage: "`TIME` under load before anything counts"},
		&cli.StringFlag{Name: "part-size", Usage: "put objects larger than `SIZE` in parts of it"},
		&cli.IntFlag{Name: "parts-at-once", Value: 4, Usage: "`NUMBER` of parts of one object that are sent at the same time"},
		&cli.StringFlag{Name: "checksum", Usage: "`ALGORITHM` of an additional checksum of what is put: " + strings.Join(bench.Checksums, ", ")},
		&cli.BoolFlag{Name: "keep", Usage: "leave the objects and the bucket"},
		&cli.BoolFlag{Name: "json", Usage: "print the report as JSON"},
		&cli.StringFlag{Name: "out", Usage: "write the report as JSON into `FILE`, too"},
	}
	if verb != bench.Put {
		list = append(list, &cli.IntFlag{Name: "objects", Value: objects, Usage: "`NUMBER` of objects that are put before the load begins"})
	}
	if verb == bench.Get || verb == bench.List || verb == bench.Mixed {
		list = append(list, &cli.BoolFlag{Name: "verify", Usage: "compare what is read with what was put, byte by byte; of listings each key, unless keys change meanwhile"})
	}
	if verb == bench.List || verb == bench.Mixed {
		list = append(list, &cli.IntFlag{Name: "page", Value: 1000, Usage: "`NUMBER` of keys that a listing asks for"})
	}
	if verb == bench.Mixed {
		list = append(list, &cli.StringFlag{Name: "shares", Value: "get=45,stat=30,put=15,delete=10", Usage: "`SHARES` of get, stat, put, delete and list, in relation to each other"})
	}
	return list
}

// newBench reads the flags.
func newBench(c *cli.Context, verb bench.Verb) (*bench.Plan, error) {
	server, err := benchServer(c)
	if err != nil {
		return nil, err
	}
	client, err := bench.NewClient(server)
	if err != nil {
		return nil, err
	}
	p := &bench.Plan{
		Client: client, Bucket: c.String("bucket"), Prefix: c.String("prefix"), Verb: verb, Objects: c.Int("objects"), Page: c.Int("page"),
		Verify: c.Bool("verify"), Keep: c.Bool("keep"),
		Limits: bench.Limits{Clients: c.Int("clients"), WarmUp: c.Duration("warm-up"), Duration: c.Duration("duration"), Requests: c.Int64("requests")},
	}
	if p.Prefix == "" {
		p.Prefix = newPrefix()
	}
	if p.Sizes, err = parseSizes(c.String("size")); err != nil {
		return nil, err
	}
	if text := c.String("part-size"); text != "" {
		if p.PartSize, err = parseSize(text); err != nil {
			return nil, fmt.Errorf("--part-size: %w", err)
		}
	}
	client.PartsAtOnce = c.Int("parts-at-once")
	if client.Checksum = strings.ToUpper(c.String("checksum")); client.Checksum != "" && !slices.Contains(bench.Checksums, client.Checksum) {
		return nil, fmt.Errorf("--checksum %s is none of %s", c.String("checksum"), strings.Join(bench.Checksums, ", "))
	}
	if verb == bench.Mixed {
		if p.Shares, err = parseShares(c.String("shares")); err != nil {
			return nil, err
		}
	}
	return p, checkBench(c, p)
}

// checkBench refuses numbers with which nothing can be measured.
func checkBench(c *cli.Context, b *bench.Plan) error {
	const mostClients, mostObjects = 10_000, 100_000_000
	for _, n := range []struct {
		flag               string
		value, least, most int64
	}{
		{"clients", int64(b.Limits.Clients), 1, mostClients},
		{"objects", int64(b.Objects), 1, mostObjects},
		{"page", int64(b.Page), 1, 1000},
		{"parts-at-once", int64(c.Int("parts-at-once")), 1, 100},
		{"requests", b.Limits.Requests, 0, math.MaxInt64},
	} {
		defined := slices.ContainsFunc(c.Command.Flags, func(f cli.Flag) bool { return f.Names()[0] == n.flag })
		if defined && (n.value < n.least || n.value > n.most) {
			return fmt.Errorf("--%s %d is not between %d and %d", n.flag, n.value, n.least, n.most)
		}
	}
	if b.Limits.Duration <= 0 || b.Limits.WarmUp < 0 {
		return errors.New("--duration must be more than nothing, and --warm-up not less")
	}
	if largest := slices.Max(b.Sizes); b.PartSize > 0 && largest > 10_000*b.PartSize {
		return fmt.Errorf("an object of %s has more than 10000 parts of %s", bench.SizeText(largest), bench.SizeText(b.PartSize))
	}
	if b.PartSize > 0 && b.PartSize < 5<<20 {
		return fmt.Errorf("--part-size %s: S3 allows no parts below 5 MiB", bench.SizeText(b.PartSize))
	}
	return nil
}

// benchServer reads where the server is, and the credential.
func benchServer(c *cli.Context) (bench.Server, error) {
	s := bench.Server{Endpoint: c.String("endpoint"), Region: c.String("region"), HostStyle: c.Bool("host-style")}
	find := os.Getenv
	if name := c.String("credentials"); name != "" {
		text, err := os.ReadFile(name)
		if err != nil {
			return s, err
		}
		find = func(variable string) string { return assigned(text, variable) }
	}
	for _, names := range [][2]string{{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}, {"HOLDFAST_ROOT_USER", "HOLDFAST_ROOT_PASSWORD"}} {
		if s.AccessKey == "" && find(names[0]) != "" {
			s.AccessKey, s.SecretKey = find(names[0]), find(names[1])
			if names[0] == "AWS_ACCESS_KEY_ID" {
				s.SessionToken = find("AWS_SESSION_TOKEN")
			}
		}
	}
	if s.AccessKey == "" || s.SecretKey == "" {
		where := "the environment"
		if name := c.String("credentials"); name != "" {
			where = name
		}
		return s, fmt.Errorf("there is no credential in %s: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or HOLDFAST_ROOT_USER and HOLDFAST_ROOT_PASSWORD; see %s --help", where, c.Command.HelpName)
	}
	if c.Bool("insecure") && c.String("ca-file") != "" {
		return s, errors.New("--insecure trusts every certificate, so that --ca-file would change nothing; give one of them")
	}
	if name := c.String("ca-file"); name != "" {
		text, err := os.ReadFile(name)
		if err != nil {
			return s, err
		}
		s.TLS = &tls.Config{RootCAs: x509.NewCertPool()}
		if !s.TLS.RootCAs.AppendCertsFromPEM(text) {
			return s, fmt.Errorf("%s has no certificate in PEM", name)
		}
	}
	if c.Bool("insecure") {
		s.TLS = &tls.Config{InsecureSkipVerify: true}
	}
	return s, nil
}

// assigned returns the value of a variable in a text of lines such as "export NAME='value'".
func assigned(text []byte, variable string) string {
	for line := range bytes.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(string(line)), "export "), "=")
		if ok && name == variable {
			return strings.Trim(value, `"'`)
		}
	}
	return ""
}

// newPrefix returns a prefix that nobody has.
func newPrefix() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // it never fails
	return "bench-" + hex.EncodeToString(b[:]) + "/"
}

// largestSize is the largest object; its content is in memory.
const largestSize = 5 << 30

// parseSize reads a number of bytes, such as 4KiB or 1.5M.
func parseSize(text string) (int64, error) {
	number, unit := text, ""
	if i := strings.IndexFunc(text, func(r rune) bool { return (r < '0' || r > '9') && r != '.' }); i >= 0 {
		number, unit = text[:i], strings.TrimSpace(text[i:])
	}
	factor, known := map[string]float64{"": 1, "b": 1, "k": 1 << 10, "kib": 1 << 10, "m": 1 << 20, "mib": 1 << 20, "g": 1 << 30, "gib": 1 << 30}[strings.ToLower(unit)]
	value, err := strconv.ParseFloat(number, 64)
	if err != nil || !known || value*factor > largestSize {
		return 0, fmt.Errorf("%q is no size up to 5GiB, such as 4KiB or 1MiB", text)
	}
	return int64(value * factor), nil
}

// parseSizes reads one size, several with commas, or two with ".." between them, of which it draws 32: their logarithms are spread evenly.
func parseSizes(text string) (sizes []int64, err error) {
	if least, most, spread := strings.Cut(text, ".."); spread {
		from, err := parseSize(least)
		if err != nil {
			return nil, fmt.Errorf("--size: %w", err)
		}
		to, err := parseSize(most)
		if err != nil {
			return nil, fmt.Errorf("--size: %w", err)
		}
		if from < 1 || to < from {
			return nil, fmt.Errorf("--size %s: the first must be at least 1 and not beyond the second", text)
		}
		r := random.New(random.NewPCG(1, 1))
		for range 32 {
			size := float64(from) * math.Pow(float64(to)/float64(from), r.Float64())
			sizes = append(sizes, min(max(int64(size), from), to))
		}
		return sizes, nil
	}
	for _, one := range strings.Split(text, ",") {
		size, err := parseSize(strings.TrimSpace(one))
		if err != nil {
			return nil, fmt.Errorf("--size: %w", err)
		}
		sizes = append(sizes, size)
	}
	return sizes, nil
}

// parseShares reads get=45,put=15 and the like.
func parseShares(text string) (map[bench.Verb]int, error) {
	shares, total := map[bench.Verb]int{}, 0
	for _, part := range strings.Split(text, ",") {
		name, number, _ := strings.Cut(strings.TrimSpace(part), "=")
		verb := bench.Verb(name)
		share, err := strconv.Atoi(number)
		if _, twice := shares[verb]; err != nil || share < 0 || share > 1_000_000 || twice ||
			!slices.Contains([]bench.Verb{bench.Put, bench.Get, bench.Stat, bench.List, bench.Delete}, verb) {
			return nil, fmt.Errorf("--shares: %q is no share such as get=45, or there twice", part)
		}
		shares[verb] = share
		total += share
	}
	if total == 0 {
		return nil, errors.New("--shares: all of them are nothing")
	}
	if shares[bench.Delete] > shares[bench.Put] {
		return nil, errors.New("--shares: more is deleted than put, so that nothing would be left to do the rest with")
	}
	return shares, nil
}

// runBench runs and prints.
func runBench(c *cli.Context, b *bench.Plan) error {
	defer b.Client.Close()
	var file *os.File
	if name := c.String("out"); name != "" { // before the load, which would be for nothing if it cannot be written
		var err error
		if file, err = os.Create(name); err != nil {
			return err
		}
		defer file.Close()
	}
	ctx, stop := signal.NotifyContext(c.Context, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop) // the second signal finds the default action
	b.Progress = func(what string) { fmt.Fprintf(c.App.ErrWriter, "%s\n", what) }
	report, err := b.Run(ctx)
	if report != nil {
		write := report.WriteText
		if c.Bool("json") {
			write = report.WriteJSON
		}
		err = errors.Join(err, write(c.App.Writer))
		if file != nil {
			err = errors.Join(err, writeReport(file, report))
		}
	}
	switch {
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return errors.New("the load was ended before its time")
	case err != nil:
		return err
	case report.Failed() > 0:
		return fmt.Errorf("%d requests failed: %s", report.Failed(), report.ErrorCounts())
	}
	return nil
}

func writeReport(file io.WriteCloser, report *bench.Report) error {
	return errors.Join(report.WriteJSON(file), file.Close())
}
