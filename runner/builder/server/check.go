package server

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"slipway/config/identity"
	"slipway/config/secret"
	"slipway/runner/builder"
)

// checkTime bounds how long `slipway builder check` waits for an answer.
const checkTime = 10 * time.Second

// checkCommand is `slipway builder check`.
func checkCommand() *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "see whether a builder takes us as its client",
		ArgsUsage: "ADDRESS",
		Flags:     []cli.Flag{tlsFlag("certificate of the client, a file of `slipway builder keys`")},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if cmd.NArg() != 1 {
				return cli.Exit(errors.New("name one address, as tcp://builder.example.com:9443"), 2)
			}
			who, err := readIdentity(cmd.String("tls"))
			if err != nil {
				return cli.Exit(err, 2)
			}
			ctx, cancel := context.WithTimeout(ctx, checkTime)
			defer cancel()
			line, err := builder.Describe(ctx, cmd.Args().First(), who)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.Root().Writer, line)
			return err
		},
	}
}

// tlsFlag names the file of an Identity: a key must not stand among the arguments.
func tlsFlag(usage string) cli.Flag {
	return &cli.StringFlag{Name: "tls", Usage: usage, Sources: cli.EnvVars("SLIPWAY_BUILDER_TLS")}
}

// readIdentity reads an identity of its file, or of the variable that holds it; without
// either it is nobody.
func readIdentity(value string) (identity.Identity, error) {
	if value == "" {
		return identity.Identity{}, nil
	}
	if !strings.HasPrefix(value, "-----BEGIN") {
		path, err := filepath.Abs(value)
		if err != nil {
			return identity.Identity{}, fmt.Errorf("--tls (SLIPWAY_BUILDER_TLS): %w", err)
		}
		value = path
	}
	who, err := identity.Read(secret.New(value))
	if err != nil {
		return identity.Identity{}, fmt.Errorf("--tls (SLIPWAY_BUILDER_TLS): %w", err)
	}
	return who, nil
}
