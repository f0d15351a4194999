package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v3"
)

// Command returns the command `slipway demo`.
func Command() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "run everything on this machine: a push becomes an image and a successful status",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "once", Usage: "check the results and exit: status 0 if all are correct"},
			&cli.BoolFlag{Name: "json", Usage: "print one JSON object on standard output"},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			return runDemo(ctx, cmd.Bool("once"), cmd.Bool("json"), cmd.Root().Writer, cmd.Root().ErrWriter)
		},
	}
}

func runDemo(ctx context.Context, once, asJSON bool, stdout, stderr io.Writer) error {
	executable, err := os.Executable()
	if err != nil {
		return err
	}
	s, err := start(ctx, Options{Executable: executable, Stderr: stderr})
	if s.env != nil {
		defer s.env.Close()
	}
	if err == nil {
		err = s.run(ctx)
	}
	if err != nil {
		s.recordFailure(err)
	}
	if asJSON {
		if encodeErr := json.NewEncoder(stdout).Encode(s.report); encodeErr != nil {
			return fmt.Errorf("print the report: %w", encodeErr)
		}
	}
	if err != nil {
		return cli.Exit("", 1) // the progress output has the error
	}
	if !once {
		s.waitForInterrupt(ctx)
	}
	return nil
}

// waitForInterrupt prints the addresses and keeps everything running until Ctrl-C.
func (s *scenario) waitForInterrupt(ctx context.Context) {
	env := s.env
	fmt.Fprintf(s.progress.w, `
  pages       %s  (Sign in with Bitbucket; user %s, password %s)
  Bitbucket   %s
  clone       git clone %s  (same user and password; push to it and watch)
  registry    http://%s

Press Ctrl-C to end the demo.
`, env.Gateway.URL, env.Alice.Name, env.Password.Reveal(), env.Bitbucket.URL(), env.App.CloneURL(), env.Registry)
	<-ctx.Done()
}
