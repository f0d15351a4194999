package plugin

import (
	"bytes"
	"strings"
	"testing"

	"slipway/config/program"
	"slipway/plugin/doctor"
)

// runDoctor returns the output of doctor, with probes, and its error.
func runDoctor(t *testing.T, environ []string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := doctor.Run(t.Context(), &out, doctor.Options{Environ: environ, Probe: true})
	return out.String(), err
}

func TestDoctorBesideAGateway(t *testing.T) {
	l := listen(t)
	environ := settingsOf(t, l) // its builder does not run
	stop := serve(t, environ, l)
	output, err := runDoctor(t, environ)
	if err == nil || err.Error() != "problems found: 1" {
		t.Errorf("beside a running gateway: got %v, want one problem\n%s", err, output)
	}
	wantOutput(
		t,
		output,
		"✓ settings",
		"✓ database",
		"✓ public URL",
		"✓ clock",
		"✓ OAuth client",
		"polled",
		"✕ builder      SLIPWAY_BUILDER: builder at tcp://127.0.0.1:1 does not answer",
		"(no client certificate was sent",
	)
	stop()

	output, err = runDoctor(t, append(environ,
		"SLIPWAY_BUILDER=unix:///no/such/builder.sock", "SLIPWAY_BITBUCKET_API_URL=http://127.0.0.1:1"))
	if err == nil {
		t.Fatal("run doctor with a stopped gateway: got no error, want one")
	}
	if code := program.ExitCode(&bytes.Buffer{}, err); code != 1 {
		t.Errorf("for a stopped gateway: got exit code %d, want 1", code)
	}
	wantOutput(t, output,
		"✕ public URL", "start the gateway", "✕ clock", "✕ builder",
		"start `slipway builder --address unix:///no/such/builder.sock` there",
	)
}

func wantOutput(t *testing.T, output string, texts ...string) {
	t.Helper()
	for _, want := range texts {
		if !strings.Contains(output, want) {
			t.Errorf("got no %q in:\n%s", want, output)
		}
	}
}
