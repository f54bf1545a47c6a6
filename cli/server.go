package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"holdfast/daemon"
)

func serverCommand() *cli.Command {
	return &cli.Command{
		Name: "server", Usage: "run a node on local drives", ArgsUsage: "DRIVE…", Flags: flags(),
		Description: "A drive is a folder, normally a mount point; it must exist, and be empty at the first start. Flags come before the folders. With several drives, objects are spread with\n" +
			"parity, so that as many drives as there are parity shards may fail. Examples:\n\n" +
			"    holdfast server /srv/drive{1...4}\n    holdfast server --state /var/lib/holdfast --standard 4+2 /srv/drive{1...6}\n    holdfast server --s3-address 127.0.0.1:9000 ./folder\n\n" +
			"The first start generates the root credential and keeps it in STATE/root-credentials, unless HOLDFAST_ROOT_USER and\n" +
			"HOLDFAST_ROOT_PASSWORD give it. SIGTERM and SIGINT stop the server after requests in progress; a second one stops it at once.",
		Action: func(c *cli.Context) error {
			for _, argument := range c.Args().Slice() {
				if strings.HasPrefix(argument, "-") {
					return usageError{fmt.Errorf("%s: flags come before the folders; see holdfast server --help", argument)}
				}
			}
			loaded, err := load(c, c.Args().Slice())
			if err != nil {
				return err
			}
			if err := daemon.Check(loaded); err != nil {
				return usageError{err}
			}
			ctx, stop := signal.NotifyContext(c.Context, syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			context.AfterFunc(ctx, stop) // the second signal finds the default action
			out, ok := c.App.Writer.(*os.File)
			return daemon.Run(ctx, loaded, c.App.Writer, ok && term.IsTerminal(int(out.Fd())))
		},
	}
}
