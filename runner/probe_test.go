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

// prober is a gateway that knows one probe, and who its step is to the builder.
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
	gateway, nobody := prober(t, pem), prober(t, "")
	for name, c := range map[string]struct {
		url, token, builder string
		err                 string // how it begins
		mend, prints        string
	}{
		"all well":       {gateway, "probe-token", builder, "", "", "slipway: well: the gateway answers at " + gateway},
		"not a probe's":  {gateway, "builds-token", builder, "the gateway: ", "check that this gateway started the pipeline", ""},
		"no gateway":     {"http://127.0.0.1:1", "probe-token", builder, "the gateway: ", "set SLIPWAY_URL", ""},
		"another server": {gateway + "/elsewhere", "probe-token", builder, "the gateway: ", "set SLIPWAY_URL", ""},
		"no certificate": {nobody, "probe-token", strings.Replace(builder, "127.0.0.1", "127.0.0.2", 1), "the builder: ", "check PLUGIN_BUILDER or SLIPWAY_BUILDER", "slipway: well: the gateway"},
		"no builder":     {gateway, "probe-token", "unix:///nowhere.sock", "the builder: ", "check PLUGIN_BUILDER or SLIPWAY_BUILDER", "slipway: well: the gateway"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			s := settings.Settings{URL: c.url + "/runner/v1/probe", Token: secret.New(c.token), Builder: c.builder}
			if !s.Probe() {
				t.Fatal("its URL is not a probe's")
			}
			err := attempt.Probe(t.Context(), attempt.Options{Settings: s, Output: &out})
			if c.err == "" {
				if err != nil {
					t.Fatalf("got error %v", err)
				}
				if !strings.HasSuffix(out.String(), "\nslipway: this step can build\n") {
					t.Errorf("got %q, want the suffix %q", out.String(), "\nslipway: this step can build\n")
				}
			} else if err == nil || !strings.HasPrefix(err.Error(), c.err) || !strings.Contains(err.Error(), c.mend) || strings.Contains(err.Error(), "\n") || strings.Contains(out.String(), "can build") {
				t.Errorf(
					"error %v, want one line that begins with %q and says %q\n%s",
					err,
					c.err,
					c.mend,
					out.String(),
				)
			}
			if !strings.Contains(out.String(), c.prints) {
				t.Errorf("it does not print %q:\n%s", c.prints, out.String())
			}
		})
	}
}

// A builder of the step's own is started, and is gone when the step has ended.
func TestAProbeStartsABuilderWhereNoneIsNamed(t *testing.T) {
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
		t.Fatalf("got error %v", err)
	}
	runnertest.CheckHas(t, "out.String()", out.String(), "slipway: well: a builder starts in the step\n")
	if (settings.Settings{URL: "https://x/runner/v1/builds/7"}).Probe() {
		t.Error("a build is taken for a probe")
	}
}

// A step that cannot build ends with exit code 1, and with one line that names the mend.
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
		t.Fatalf("got %v, want an exit code\n%s", err, out)
	}
	if got := exit.ExitCode(); got != 1 {
		t.Errorf("exit.ExitCode(): got %v, want %v", got, 1)
	}
	if !strings.HasPrefix(last, "slipway: the builder: no builder can run here") {
		t.Errorf("got %q, want the prefix %q", last, "slipway: the builder: no builder can run here")
	}
	runnertest.CheckHas(t, "last", last, "apt-get install runc; or name a builder elsewhere")
	if strings.Contains(string(out), "probe-token") {
		t.Errorf("the token is shown:\n%s", out)
	}
}
