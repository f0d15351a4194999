package plugin

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/urfave/cli/v3"

	"slipway/plugin/store/storetest"
	"slipway/runner/sandbox/server"
)

// TestMain is `slipway builder` where doctor runs it: this program again, which would
// otherwise run the tests again. They run beside a PostgreSQL.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != "builder" {
		os.Exit(storetest.RunBesidePostgres(m))
	}
	app := &cli.Command{
		Name:           "slipway",
		Commands:       []*cli.Command{server.Command()},
		ExitErrHandler: func(context.Context, *cli.Command, error) {},
	}
	if err := app.Run(context.Background(), os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "slipway:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
