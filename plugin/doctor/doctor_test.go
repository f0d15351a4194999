package doctor_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"slipway/plugin/doctor"
	"slipway/plugin/store/storetest"
)

var errFull = errors.New("full")

// TestMain is `slipway builder` in the child process that doctor starts.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != "builder" {
		os.Exit(storetest.RunBesidePostgres(m))
	}
	if len(os.Args) != 4 || os.Args[2] != "check" {
		fmt.Fprintln(os.Stderr, "slipway: unexpected arguments", os.Args)
		os.Exit(1)
	}
	if os.Args[3] == workingBuilder {
		fmt.Fprintln(os.Stdout, "BuildKit v1.2.3")
		os.Exit(0)
	}
	fmt.Fprintln(os.Stderr, "slipway: no builder at", os.Args[3])
	os.Exit(1)
}

// workingBuilder is the address of a builder that answers.
const workingBuilder = "unix:///run/works.sock"

// run returns the output of doctor and its error.
func run(t *testing.T, environ ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := doctor.Run(t.Context(), &out, doctor.Options{Environ: environ})
	return out.String(), err
}

func wantLines(t *testing.T, output string, lines ...string) {
	t.Helper()
	for _, want := range lines {
		if !strings.Contains(output, want) {
			t.Errorf("got no line %q in:\n%s", want, output)
		}
	}
}

func TestDoctorStopsAtInvalidSettings(t *testing.T) {
	output, err := run(t)
	if err == nil {
		t.Error("run without settings: got no error, want one")
	}
	wantLines(t, output, "✕ settings     SLIPWAY_URL is not set")
	if strings.Count(output, "\n") != 1 {
		t.Errorf("output: got\n%s\nwant one line about the settings", output)
	}
}

func TestAFindingShowsItsFix(t *testing.T) {
	for want, f := range map[string]doctor.Finding{
		"✓ disk         1.0 GB free":          {Check: "disk", Note: "1.0 GB free"},
		"! disk         slow":                 {Check: "disk", Note: "slow", Warning: true},
		"✕ disk         full":                 {Check: "disk", Err: errFull},
		"✕ disk         full: delete a file":  {Check: "disk", Err: errFull, Fix: "delete a file"},
		"✕ OAuth client full: delete a file":  {Check: "OAuth client", Err: errFull, Fix: "delete a file"},
		"✓ OAuth client notes are not a fix ": {Check: "OAuth client", Note: "notes are not a fix ", Fix: "x"},
	} {
		if got := f.String(); got != want {
			t.Errorf("finding: got %q, want %q", got, want)
		}
	}
}

// bitbucket is a server whose clock is off by skew.
func bitbucket(t *testing.T, skew time.Duration) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(skew).UTC().Format(http.TimeFormat))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// settings returns settings of an installation without a running gateway or database.
func settings(t *testing.T, apiURL string) []string {
	t.Helper()
	return []string{
		"SLIPWAY_URL=http://127.0.0.1:1",
		"SLIPWAY_DATA=" + t.TempDir(),
		"SLIPWAY_BITBUCKET_API_URL=" + apiURL,
		"SLIPWAY_BUILDER=tcp://127.0.0.1:1",
	}
}

func TestDoctorComparesTheClock(t *testing.T) {
	output, _ := run(t, settings(t, bitbucket(t, 0))...)
	wantLines(t, output, "✓ clock        ")
	output, _ = run(t, settings(t, bitbucket(t, time.Hour))...)
	wantLines(t, output, "✕ clock        this machine's clock differs", "start a time service")
	output, _ = run(t, settings(t, "http://127.0.0.1:1")...)
	wantLines(t, output, "✕ clock        SLIPWAY_BITBUCKET_API_URL=http://127.0.0.1:1")
}

func TestDoctorChecksAMachineWithoutAGateway(t *testing.T) {
	output, err := run(t, settings(t, bitbucket(t, 0))...)
	if err == nil {
		t.Error("run without a gateway and a builder: got no error, want one")
	}
	wantLines(
		t,
		output,
		"✓ settings",
		"GB free in",
		"✕ database",
		"✕ public URL   SLIPWAY_URL=http://127.0.0.1:1",
		"start the gateway",
		"✕ builder      SLIPWAY_BUILDER: no builder at tcp://127.0.0.1:1: start `slipway builder --address tcp://127.0.0.1:1` there",
	)
	output, _ = run(t, append(settings(t, bitbucket(t, 0)), "SLIPWAY_DATA=/no/such/directory")...)
	wantLines(t, output, "✕ disk         SLIPWAY_DATA=/no/such/directory")
}

// A builder that the gateway does not start has one cache for all builds.
func TestDoctorReportsASharedCache(t *testing.T) {
	output, _ := run(t, append(settings(t, bitbucket(t, 0)), "SLIPWAY_BUILDER="+workingBuilder)...)
	wantLines(t, output, "✓ builder      BuildKit v1.2.3; all builds share its cache")
}
