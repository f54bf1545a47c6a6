package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"holdfast/daemon"
)

func serverCommand() *cli.Command {
	return &cli.Command{
		Name: "server", Usage: "run a node on local drives", ArgsUsage: "[DRIVE…]", Flags: flags(),
		Description: "A drive is a folder, normally a mount point; it must be empty at the first start. With several drives, objects are spread with\n" +
			"parity, so that as many drives as there are parity shards may fail. Examples:\n\n" +
			"    holdfast server /srv/drive{1...4}\n    holdfast server --state /var/lib/holdfast --standard 4+2 /srv/drive{1...6}\n    holdfast server --s3-address 127.0.0.1:9000 ./folder\n\n" +
			"The first start generates the root credential and keeps it in STATE/root-credentials, unless HOLDFAST_ROOT_USER and\n" +
			"HOLDFAST_ROOT_PASSWORD give it. SIGTERM and SIGINT stop the server after requests in progress; a second one stops it at once.",
		Action: func(c *cli.Context) error {
			loaded, err := load(c, c.Args().Slice())
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.Context, syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			context.AfterFunc(ctx, stop) // the second signal finds the default action
			out, ok := c.App.Writer.(*os.File)
			return daemon.Run(ctx, loaded, c.App.Writer, ok && term.IsTerminal(int(out.Fd())))
		},
	}
}
