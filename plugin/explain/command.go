package explain

import (
	"context"

	"github.com/urfave/cli/v3"
)

// Command returns the command "slipway explain".
func Command() *cli.Command {
	return &cli.Command{
		Name:      "explain",
		Usage:     "show what the rules decide for a delivery, without a gateway",
		ArgsUsage: "PAYLOAD|-",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "provider", Usage: "provider: bitbucket-cloud or bitbucket-datacenter"},
			&cli.StringFlag{Name: "event", Usage: "the delivery's X-Event-Key, for example repo:push"},
			&cli.StringFlag{Name: "rules", Usage: "the rules file"},
		},
		OnUsageError: func(_ context.Context, _ *cli.Command, err error, _ bool) error {
			return usageError("%w", err)
		},
		Action: func(ctx context.Context, c *cli.Command) error {
			for _, flag := range []string{"provider", "event", "rules"} {
				if !c.IsSet(flag) {
					return usageError("--%s is needed: explain --provider … --event KEY --rules FILE PAYLOAD|-", flag)
				}
			}
			if c.NArg() != 1 {
				return usageError("got %d payloads, want one: a file, or - for standard input", c.NArg())
			}
			return Run(ctx, Options{
				Provider:  c.String("provider"),
				Event:     c.String("event"),
				RulesFile: c.String("rules"),
				Payload:   c.Args().First(),
				Stdin:     c.Root().Reader,
				Stdout:    c.Root().Writer,
			})
		},
	}
}
