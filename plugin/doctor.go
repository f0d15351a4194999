package plugin

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v3"

	"slipway/config"
)

// A finding is one line of doctor: what was looked at, how it stands, and the mend.
type finding struct {
	what string
	err  error  // nil = well
	note string // what is well, or worth knowing
}

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "check this installation and say in one line each what to mend",
		Description: "On each CI that is set up it starts a pipeline which builds nothing and tells how far it\n" +
			"comes, in up to two minutes. It is started in the builder repository, or where there is none\n" +
			"in the repository of the first automated build on that CI.",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "no-probe", Usage: "start no pipeline on the CIs"}},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			return doctor(ctx, cmd.Root().Writer, os.Environ(), !cmd.Bool("no-probe"))
		},
	}
}

// doctor prints a line for each check, and fails when one did. A probe starts pipelines on CIs.
func doctor(ctx context.Context, w io.Writer, environ []string, probe bool) error {
	c, err := config.LoadGateway(environ)
	printFindings(w, finding{what: "settings", err: err, note: "understood"})
	if err != nil {
		return cli.Exit("", 1)
	}
	d := diagnosis{config: c, probe: probe}
	failed := 0
	for _, check := range []func(context.Context) []finding{
		d.dataDirectory, d.database, d.publicURL, d.clock, d.oauthClients, d.linkedAccounts, d.registries, d.webhooks, d.builder, d.cis,
	} {
		found := check(ctx)
		printFindings(w, found...)
		for _, f := range found {
			if f.err != nil {
				failed++
			}
		}
	}
	d.close()
	if failed > 0 {
		return cli.Exit(fmt.Sprintf("%d to mend", failed), 1)
	}
	return nil
}

func printFindings(w io.Writer, all ...finding) {
	for _, f := range all {
		if f.err != nil {
			fmt.Fprintf(w, "✕ %-12s %v\n", f.what, f.err)
		} else {
			fmt.Fprintf(w, "✓ %-12s %s\n", f.what, f.note)
		}
	}
}
