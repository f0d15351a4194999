package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v3"
)

// Command is `slipway demo`.
func Command() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "show the whole loop on this machine: a push becomes an image and a green status",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "once", Usage: "exit when everything was checked: 0 = it all held"},
			&cli.BoolFlag{Name: "json", Usage: "print one JSON object on standard output"},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			return act(ctx, cmd.Bool("once"), cmd.Bool("json"), cmd.Root().Writer, cmd.Root().ErrWriter)
		},
	}
}

func act(ctx context.Context, once, asJSON bool, stdout, stderr io.Writer) error {
	executable, err := os.Executable()
	if err != nil {
		return err
	}
	address, stopBuilder, err := ensureBuilder(ctx, executable, stderr)
	if err != nil {
		return err
	}
	defer stopBuilder()
	l, err := start(ctx, Options{Executable: executable, Builder: address, Stderr: stderr})
	if l.env != nil {
		defer l.env.Close()
	}
	if err == nil {
		err = l.run(ctx)
	}
	if err != nil {
		l.fail(err)
	}
	if asJSON {
		if encodeErr := json.NewEncoder(stdout).Encode(l.report); encodeErr != nil {
			return fmt.Errorf("print the report: %w", encodeErr)
		}
	}
	if err != nil {
		return cli.Exit("", 1) // told already
	}
	if !once {
		l.stay(ctx)
	}
	return nil
}

// stay leaves everything running for a person to look at.
func (l *loop) stay(ctx context.Context) {
	fmt.Fprintf(l.tell.w, `
  pages       %s  (Sign in with Bitbucket; user %s, password %s)
  Bitbucket   %s
  clone       git clone %s  (same user and password; push to it and watch)
  registry    http://%s

Ctrl-C ends the demo.
`, l.env.Gateway.URL, l.env.Alice.Name, l.env.Password.Reveal(), l.env.Bitbucket.URL(), l.env.App.CloneURL(), l.env.Registry)
	<-ctx.Done()
}
