// Package restarttest restarts gateways under load, and replaces their program.
package restarttest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/urfave/cli/v3"

	"slipway/config/program"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/restart"
)

// brokenName is the file name of a program that passes the check of a restart, and then does not start.
const brokenName = "broken"

func TestMain(m *testing.M) {
	file, err := os.Readlink("/proc/self/exe")
	if err == nil && filepath.Base(file) == brokenName {
		os.Exit(program.Run(&cli.Command{Name: "slipway", Commands: []*cli.Command{brokenGateway()}}, os.Args))
	}
	demotest.Main(m)
}

func brokenGateway() *cli.Command {
	return &cli.Command{
		Name:  "gateway",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "check"}},
		Action: func(context.Context, *cli.Command) error {
			if slices.Contains(os.Args, "--check") {
				return nil
			}
			state, err := restart.Inherit()
			if err != nil {
				return err
			}
			return errors.Join(errors.New("this program is broken"), state.Revert())
		},
	}
}
