package runner_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v3"

	"slipway/config/identity"
	"slipway/runner"
	"slipway/runner/publish"
	"slipway/runner/report"
	"slipway/runner/runnertest"
	"slipway/runner/sandbox/server"
)

// setenv sets the environment of the command like an engine does.
func setenv(t *testing.T, url string) {
	t.Helper()
	for name, value := range map[string]string{
		"SLIPWAY_RUNNER_URL": url, "SLIPWAY_RUNNER_TOKEN": "token-canary", "SLIPWAY_BUILDER": "unix:///nowhere.sock",
		"SLIPWAY_RUNNER_HOOKS": "off", "SLIPWAY_WORKDIR": t.TempDir(),
	} {
		t.Setenv(name, value)
	}
}

func TestCommandReadsTheEnvironment(t *testing.T) {
	e := newEnv(t)
	b := e.Push(runnertest.Dockerfile("FROM scratch\n"))
	setenv(t, e.Gateway.BuildURL(b.ID))
	if err := runner.Command("").Run(t.Context(), []string{"runner"}); !errors.Is(err, report.ErrUnauthorized) {
		t.Errorf("runner: got error %v, want %v", err, report.ErrUnauthorized)
	}
	if _, set := os.LookupEnv("SLIPWAY_RUNNER_TOKEN"); set {
		t.Error("SLIPWAY_RUNNER_TOKEN: got it in the environment of child processes, want it removed")
	}
}

func TestCommandWithoutSettings(t *testing.T) {
	setenv(t, "")
	app := &cli.Command{
		Commands:       []*cli.Command{runner.Command(""), server.Command()},
		ExitErrHandler: func(context.Context, *cli.Command, error) {},
	}
	err := app.Run(t.Context(), []string{"slipway", "runner"})
	var exit cli.ExitCoder
	if !errors.As(err, &exit) {
		t.Fatalf("runner: got error %v, want an exit code", err)
	}
	if got := exit.ExitCode(); got != 2 {
		t.Errorf("exit code: got %d, want 2", got)
	}
	runnertest.CheckHas(t, "the error", err.Error(), "SLIPWAY_RUNNER_URL is not set")
}

func TestCommandDescribesItsSettings(t *testing.T) {
	c := runner.Command("")
	for _, name := range []string{"SLIPWAY_RUNNER_URL", "SLIPWAY_RUNNER_TOKEN", "SLIPWAY_BUILDER", "SLIPWAY_RUNNER_HOOKS", "SLIPWAY_WORKDIR", "[on]", "PLUGIN_REPO", "PLUGIN_TAGS", "[latest]"} {
		if !strings.Contains(c.Description, name) {
			t.Errorf("help: got no setting %s, want it", name)
		}
	}
}

// Some CIs run a plugin's program without arguments.
func TestBareProgramIsTheRunnerInAStep(t *testing.T) {
	for _, c := range []struct{ args, environ, want []string }{
		{[]string{"slipway"}, []string{"PLUGIN_RUNNER_URL=https://ci.example.com/x"}, []string{"slipway", "runner"}},
		{[]string{"slipway"}, []string{"PLUGIN_REPO=acme/app"}, []string{"slipway", "runner"}},
		{[]string{"slipway"}, []string{"PLUGIN_REPO=", "PLUGIN_RUNNER_URL=", "PATH=/bin"}, []string{"slipway"}},
		{[]string{"slipway", "version"}, []string{"PLUGIN_REPO=acme/app"}, []string{"slipway", "version"}},
		{[]string{"slipway", "--help"}, []string{"PLUGIN_REPO=acme/app"}, []string{"slipway", "--help"}},
	} {
		if got := runner.Bare(c.args, c.environ); !slices.Equal(got, c.want) {
			t.Errorf("%v with %v: got %v, want %v", c.args, c.environ, got, c.want)
		}
	}
}

func TestNoBuilderAtTheAddress(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := publish.Dial(ctx, "unix:///nowhere.sock", identity.Identity{}); err == nil {
		t.Error("dial without a builder: got no error, want one")
	}
}
