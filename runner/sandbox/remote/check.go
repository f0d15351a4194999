package remote

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
	"slipway/runner/buildkit"
)

// checkTimeout is the time limit of `slipway builder check`.
const checkTimeout = 10 * time.Second

// CheckCommand returns the command `slipway builder check`.
func CheckCommand() *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "check whether a builder accepts this client",
		ArgsUsage: "ADDRESS",
		Flags:     []cli.Flag{TLSFlag("certificate of the client, a file of `slipway builder keys`")},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if cmd.NArg() != 1 {
				return cli.Exit(errors.New("set one address, for example tcp://builder.example.com:9443"), 2)
			}
			client, err := ReadIdentity(cmd.String("tls"))
			if err != nil {
				return cli.Exit(err, 2)
			}
			ctx, cancel := context.WithTimeout(ctx, checkTimeout)
			defer cancel()
			line, err := buildkit.Describe(ctx, cmd.Args().First(), client)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.Root().Writer, line)
			return err
		},
	}
}

// TLSFlag returns the flag for the file of an identity. The flag takes a file name, because other
// users can read the arguments of a process.
func TLSFlag(usage string) cli.Flag {
	return &cli.StringFlag{Name: "tls", Usage: usage, Sources: cli.EnvVars("SLIPWAY_BUILDER_TLS")}
}

// ReadIdentity reads an identity from the value of the flag --tls: a file name, or the PEM itself if
// it comes from the variable. For an empty value it returns the zero Identity.
func ReadIdentity(value string) (identity.Identity, error) {
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
	id, err := identity.Read(secret.New(value))
	if err != nil {
		return identity.Identity{}, fmt.Errorf("--tls (SLIPWAY_BUILDER_TLS): %w", err)
	}
	return id, nil
}
