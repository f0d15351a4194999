package runner_test

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"slipway/config/secret"
	"slipway/runner/attempt"
	"slipway/runner/runnertest"
	"slipway/runner/settings"
	"slipway/runner/spec"
)

// prober starts a gateway with one probe, and returns its URL. builderTLS is the step's certificate for
// the builder.
func prober(t *testing.T, builderTLS string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodPost || r.URL.Path != "/runner/v1/probe":
			w.WriteHeader(http.StatusNotFound)
		case r.Header.Get("Authorization") != "Bearer probe-token":
			w.WriteHeader(http.StatusUnauthorized)
		default:
			if err := spec.EncodeProbe(w, spec.ProbeReply{BuilderTLS: secret.New(builderTLS)}); err != nil {
				t.Error(err)
			}
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestOutputOfTheStepOfAProbe(t *testing.T) {
	needBuildKit(t)
	builder, pem := remoteBuilder(t)
	gateway, anonymous := prober(t, pem), prober(t, "")
	for name, c := range map[string]struct {
		url, token, builder string
		err                 string // start of the error; empty = no error
		fix, prints         string
	}{
		"all well":       {gateway, "probe-token", builder, "", "", "slipway: well: the gateway answers at " + gateway},
		"not a probe's":  {gateway, "builds-token", builder, "the gateway: ", "check that this gateway started the pipeline", ""},
		"no gateway":     {"http://127.0.0.1:1", "probe-token", builder, "the gateway: ", "set SLIPWAY_URL", ""},
		"another server": {gateway + "/elsewhere", "probe-token", builder, "the gateway: ", "set SLIPWAY_URL", ""},
		"no certificate": {anonymous, "probe-token", strings.Replace(builder, "127.0.0.1", "127.0.0.2", 1), "the builder: ", "check PLUGIN_BUILDER or SLIPWAY_BUILDER", "slipway: well: the gateway"},
		"no builder":     {gateway, "probe-token", "unix:///nowhere.sock", "the builder: ", "check PLUGIN_BUILDER or SLIPWAY_BUILDER", "slipway: well: the gateway"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			s := settings.Settings{URL: c.url + "/runner/v1/probe", Token: secret.New(c.token), Builder: c.builder}
			if !s.Probe() {
				t.Fatal("Probe for the URL of a probe: got false, want true")
			}
			err := attempt.Probe(t.Context(), attempt.Options{Settings: s, Output: &out})
			if c.err == "" {
				if err != nil {
					t.Fatalf("probe: %v", err)
				}
				if !strings.HasSuffix(out.String(), "\nslipway: this step can build\n") {
					t.Errorf("output: got %q, want the suffix %q", out.String(), "\nslipway: this step can build\n")
				}
			} else {
				checkProbeError(t, err, c.err, c.fix)
				if strings.Contains(out.String(), "can build") {
					t.Errorf("output: got:\n%s\nwant no \"can build\" in it", out.String())
				}
			}
			if !strings.Contains(out.String(), c.prints) {
				t.Errorf("output: got:\n%s\nwant %q in it", out.String(), c.prints)
			}
		})
	}
}

// checkProbeError checks that the error is one line, with a prefix and a fix.
func checkProbeError(t *testing.T, err error, prefix, fix string) {
	t.Helper()
	if err == nil {
		t.Fatalf("probe: got no error, want one that starts with %q", prefix)
	}
	text := err.Error()
	if !strings.HasPrefix(text, prefix) {
		t.Errorf("error: got %q, want the prefix %q", text, prefix)
	}
	if !strings.Contains(text, fix) {
		t.Errorf("error: got %q, want %q in it", text, fix)
	}
	if strings.Contains(text, "\n") {
		t.Errorf("error: got %q, want one line", text)
	}
}

// The step starts its own builder, and ends it before the step ends.
func TestAProbeStartsABuilderIfNoneIsSet(t *testing.T) {
	needBuildKit(t)
	t.Setenv("TMPDIR", openDir(t))
	var out bytes.Buffer
	s := settings.Settings{URL: prober(t, "") + "/runner/v1/probe", Token: secret.New("probe-token")}
	err := attempt.Probe(
		t.Context(),
		attempt.Options{
			Settings: s,
			Environ:  append(os.Environ(), asCommand+"=1", "SLIPWAY_BUILDER_NETWORK=none"),
			Output:   &out,
		},
	)
	if err != nil {
		t.Fatalf("read the settings: %v", err)
	}
	runnertest.CheckHas(t, "the output", out.String(), "slipway: well: a builder starts in the step\n")
	if (settings.Settings{URL: "https://x/runner/v1/builds/7"}).Probe() {
		t.Error("Probe for the URL of a build: got true, want false")
	}
}

// A step that cannot build ends with exit code 1. One line names the fix.
func TestAProbesStepWithoutABuilder(t *testing.T) {
	skipIfCovered(t)
	needBuildKit(t)
	cmd := stepCommand(
		t,
		t.TempDir(),
		"PLUGIN_RUNNER_URL="+prober(t, "")+"/runner/v1/probe",
		"PLUGIN_RUNNER_TOKEN=probe-token",
		"PATH="+t.TempDir(),
	)
	out, err := cmd.CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	last := lines[len(lines)-1]
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("probe: got error %v, want an exit code\n%s", err, out)
	}
	if got := exit.ExitCode(); got != 1 {
		t.Errorf("exit code: got %d, want 1", got)
	}
	if !strings.HasPrefix(last, "slipway: the builder: no builder can run here") {
		t.Errorf("last line: got %q, want the prefix %q", last, "slipway: the builder: no builder can run here")
	}
	runnertest.CheckHas(t, "the last line", last, "apt-get install runc; or use a builder elsewhere")
	if strings.Contains(string(out), "probe-token") {
		t.Errorf("output: got:\n%s\nwant no token in it", out)
	}
}
