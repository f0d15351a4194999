package runner_test

import (
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipway/runner/hints"
)

// --dry-run says what would be done, and touches nothing: no builder, registry or Bitbucket.
func TestDryRunFlagSaysWhatTheStepWouldDo(t *testing.T) {
	needBuildKit(t)
	w, c := newWorld(t), newCloud(t)
	w.registry.set(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) { t.Errorf("%s %s", r.Method, r.URL) })
	dir := workspace(t, map[string]string{"Dockerfile": "FROM scratch\n"})
	flag := func(environ ...string) *exec.Cmd {
		cmd := step(t, dir, environ...)
		cmd.Args = append(cmd.Args, "--dry-run")
		return cmd
	}
	out, err := flag(
		c.environ(
			"PLUGIN_REPO="+w.image(),
			"PLUGIN_TAGS=1.2,latest",
			"PLUGIN_PASSWORD=password-canary",
			"PLUGIN_USERNAME=ci",
			"PLUGIN_BITBUCKET_TOKEN="+c.bot.Reveal(),
			"PLUGIN_DIGEST_FILE=out/digest",
			"DRONE_WORKSPACE="+dir,
		)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"tags                         1.2,latest (PLUGIN_TAGS)", "password                     *** (PLUGIN_PASSWORD)", "dockerfile                   Dockerfile (default)",
		"would push " + w.image() + ":1.2\n", "would push " + w.image() + ":latest\n", "would write " + dir + "/out/digest (PLUGIN_DIGEST_FILE)",
		"would report the status of acme/app@" + c.commit[:12] + " at " + c.URL, "would start a builder here, ",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	if made, _ := filepath.Glob(
		filepath.Join(dir, "out"),
	); len(made) != 0 || len(c.app.StatusHistory(c.commit)) != 0 ||
		strings.Contains(string(out), "canary") {
		t.Errorf("it did something, or shows a secret:\n%s", out)
	}
	for want, environ := range map[string]string{
		"would ask the builder at unix:///b.sock (PLUGIN_BUILDER)": "PLUGIN_BUILDER=unix:///b.sock",
		"would fail: no builder can run here: OCI runtime":         "SLIPWAY_BUILDER_RUNTIME=no-such-runtime",
	} {
		if out, err := flag(
			"PLUGIN_REPO="+w.image(),
			environ,
		).CombinedOutput(); err != nil ||
			!strings.Contains(string(out), want) {
			t.Errorf("it does not say %q: %v\n%s", want, err, out)
		}
	}
	if out, err := flag(
		"PLUGIN_REPO="+w.image(),
		"PLUGIN_DOCKERFILE=other",
	).CombinedOutput(); err == nil ||
		!strings.Contains(string(out), "PLUGIN_DOCKERFILE") {
		t.Errorf("a Dockerfile that is not there: %v\n%s", err, out)
	}
	if out, err := flag(
		"SLIPWAY_RUNNER_URL=https://slipway.example.com/runner/v1/builds/b",
	).CombinedOutput(); err == nil ||
		!strings.Contains(string(out), "without a gateway") {
		t.Errorf("under a gateway: %v\n%s", err, out)
	}
}

// Where the step would do less than is asked for, it says so instead of what it would build or push.
func TestDryRunFlagSaysWhatTheStepWouldLeave(t *testing.T) {
	dir := workspace(t, map[string]string{"Dockerfile": "FROM scratch\n"})
	for _, c := range []struct {
		environ     []string
		says, never string
	}{
		{[]string{"PLUGIN_AUTO_TAG=true"}, "skipped: auto_tag makes tags", "would "},
		{nil, "would push nothing: there is no tag to push", "would push registry"},
	} {
		cmd := step(
			t,
			dir,
			append(
				onRef("refs/heads/feature/x"),
				append(c.environ, "PLUGIN_REPO=registry.example.com/acme/app", "DRONE_WORKSPACE="+dir)...)...)
		cmd.Args = append(cmd.Args, "--dry-run")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), c.says) ||
			strings.Contains(string(out), c.never) {
			t.Errorf("%v: %v, want %q and not %q:\n%s", c.environ, err, c.says, c.never, out)
		}
	}
}

func TestDryRunSettingSaysWhatWouldBePushed(t *testing.T) {
	w := newWorld(t)
	log, err := w.alone("PLUGIN_DRY_RUN=true", "PLUGIN_TAGS=1.2,latest")
	for _, want := range []string{"dry_run                      true (PLUGIN_DRY_RUN)", "cached  2 of 3 steps", "would push " + w.image() + ":latest"} {
		if err != nil || !strings.Contains(log, want) {
			t.Errorf("%v; the log does not say %q:\n%s", err, want, log)
		}
	}
}

func TestStandaloneHintsAtWhatWouldHaveHelped(t *testing.T) {
	w := newWorld(t)
	w.builder.ran = []hints.Step{
		{Name: "[1/2] FROM a", Cached: true},
		{Name: "[2/2] RUN npm ci", Took: 9 * time.Second},
	}
	dir := workspace(t, map[string]string{"web/Dockerfile": "FROM a\nRUN npm ci\n"})
	log, err := w.alone("CI_WORKSPACE="+dir, "PLUGIN_DOCKERFILE=web/Dockerfile")
	if want := "  hint    web/Dockerfile:2: RUN ran again for 9s; with --mount=type=cache on /root/.npm"; err != nil ||
		!strings.Contains(log, want) {
		t.Errorf("%v; the log does not say %q:\n%s", err, want, log)
	}
}
