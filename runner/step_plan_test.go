package runner_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"slipway/runner/runnertest"
)

// --dry-run prints the plan. It sends no request to a builder, a registry or Bitbucket.
func TestDryRunFlagPrintsThePlan(t *testing.T) {
	needBuildKit(t)
	e := newEnv(t)
	untouched := func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		t.Errorf("request to the registry: got %s %s, want none", r.Method, r.URL)
	}
	e.Registry.Intercept(untouched)
	bitbucket := runnertest.NewServer(t, http.NotFoundHandler())
	bitbucket.Intercept(untouched)
	dir := runnertest.Workspace(t, map[string]string{"Dockerfile": "FROM scratch\n"})
	const commit = "fb522a6f00000000000000000000000000000001"
	out, err := dryRun(t, dir, append(
		runnertest.Pipeline("https://bitbucket.org/acme/app.git", "refs/heads/main", commit),
		"PLUGIN_REPO="+e.Registry.Image(),
		"PLUGIN_TAGS=1.2,latest",
		"PLUGIN_PASSWORD=password-canary",
		"PLUGIN_USERNAME=ci",
		"PLUGIN_BITBUCKET_TOKEN=token-canary",
		"PLUGIN_BITBUCKET_URL="+bitbucket.URL,
		"PLUGIN_DIGEST_FILE=out/digest",
		"DRONE_WORKSPACE="+dir,
	)...)
	if err != nil {
		t.Fatalf("step: %v\n%s", err, out)
	}
	for _, want := range []string{
		"tags                         1.2,latest (PLUGIN_TAGS)",
		"password                     *** (PLUGIN_PASSWORD)",
		"dockerfile                   Dockerfile (default)",
		"would push " + e.Registry.Image() + ":1.2\n",
		"would push " + e.Registry.Image() + ":latest\n",
		"would write " + dir + "/out/digest (PLUGIN_DIGEST_FILE)",
		"would report the status of acme/app@" + commit[:12] + " at " + bitbucket.URL,
		"would start a builder here, ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("output: got:\n%s\nwant %q in it", out, want)
		}
	}
	if made, _ := filepath.Glob(filepath.Join(dir, "out")); len(made) != 0 {
		t.Errorf("got files %v, want none", made)
	}
	if strings.Contains(out, "canary") {
		t.Errorf("output: got:\n%s\nwant no secret in it", out)
	}
}

func TestDryRunFlagPrintsTheBuilder(t *testing.T) {
	needBuildKit(t)
	dir := runnertest.Workspace(t, map[string]string{"Dockerfile": "FROM scratch\n"})
	for want, environ := range map[string]string{
		"would use the builder at unix:///b.sock (PLUGIN_BUILDER)": "PLUGIN_BUILDER=unix:///b.sock",
		"would fail: no builder can run here: OCI runtime":         "SLIPWAY_BUILDER_RUNTIME=no-such-runtime",
	} {
		out, err := dryRun(t, dir, "PLUGIN_REPO=acme/app", environ)
		if err != nil {
			t.Errorf("%s: got error %v, want nil", environ, err)
		}
		if !strings.Contains(out, want) {
			t.Errorf("output: got:\n%s\nwant %q in it", out, want)
		}
	}
}

func TestDryRunFlagFailsLikeTheStep(t *testing.T) {
	dir := runnertest.Workspace(t, map[string]string{"Dockerfile": "FROM scratch\n"})
	for want, environ := range map[string][]string{
		"PLUGIN_DOCKERFILE": {"PLUGIN_REPO=acme/app", "PLUGIN_DOCKERFILE=other"},
		"without a gateway": {"SLIPWAY_RUNNER_URL=https://slipway.example.com/runner/v1/builds/b"},
	} {
		out, err := dryRun(t, dir, environ...)
		if err == nil {
			t.Errorf("%v: got no error, want one", environ)
		}
		if !strings.Contains(out, want) {
			t.Errorf("%v: output: got:\n%s\nwant %q in it", environ, out, want)
		}
	}
}

// dryRun runs `slipway runner --dry-run`.
func dryRun(t *testing.T, dir string, environ ...string) (out string, err error) {
	t.Helper()
	cmd := stepCommand(t, dir, environ...)
	cmd.Args = append(cmd.Args, "--dry-run")
	text, err := cmd.CombinedOutput()
	return string(text), err
}

// If the step would skip the build or the push, the plan has the reason instead.
func TestDryRunFlagPrintsTheResultFiles(t *testing.T) {
	dir := runnertest.Workspace(t, map[string]string{"Dockerfile": "FROM scratch\n"})
	for _, c := range []struct {
		environ     []string
		want, never string
	}{
		{[]string{"PLUGIN_AUTO_TAG=true"}, "skipped: auto_tag makes tags", "would "},
		{nil, "would push nothing: there is no tag to push", "would push registry"},
	} {
		cmd := stepCommand(
			t,
			dir,
			append(
				runnertest.OnRef("refs/heads/feature/x"),
				append(c.environ, "PLUGIN_REPO=registry.example.com/acme/app", "DRONE_WORKSPACE="+dir)...)...)
		cmd.Args = append(cmd.Args, "--dry-run")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("step: %v\n%s", err, out)
			continue
		}
		runnertest.CheckHas(t, "the log", string(out), c.want)
		runnertest.CheckLacks(t, "the log", string(out), c.never)
	}
}
