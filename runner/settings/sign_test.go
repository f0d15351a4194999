package settings_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/secret"
	"slipway/runner/settings"
)

func TestCosignParamsAreAnnotations(t *testing.T) {
	for params, want := range map[string]map[string]string{
		"":                              nil,
		"-a build=7 -a commit=4f=1":     {"build": "7", "commit": "4f=1"},
		"--annotations a=1,b= -a=c=3":   {"a": "1", "b": "", "c": "3"},
		"--annotations=a=1":             {"a": "1"},
		"--tlog-upload=false -y -a a=1": {"a": "1"},
		"--yes":                         nil,
	} {
		got, err := settings.ReadPlugin(plugin("PLUGIN_COSIGN_PRIVATE_KEY=cosign.key", "PLUGIN_COSIGN_PARAMS="+params))
		if diff := cmp.Diff(want, got.Sign.Annotations); diff != "" || err != nil {
			t.Errorf("%q: %v (-want +got):\n%s", params, err, diff)
		}
	}
	for params, want := range map[string]string{
		"--rekor-url=https://rekor.example.com": `"--rekor-url=https://rekor.example.com"`,
		"--tlog-upload=true":                    "nothing is sent to a transparency log",
		"--recursive":                           `"--recursive"`,
		"--key k8s://ns/key":                    `"--key"`,
		"-a":                                    `"" is not NAME=value`,
		"-a build":                              `"build" is not NAME=value`,
		"-a a=1,=2":                             `"=2" is not NAME=value`,
		"build=7":                               "use -a NAME=value",
	} {
		_, err := settings.ReadPlugin(plugin("PLUGIN_COSIGN_PRIVATE_KEY=cosign.key", "PLUGIN_COSIGN_PARAMS="+params))
		if err == nil || !strings.Contains(err.Error(), "PLUGIN_COSIGN_PARAMS") ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", params, err, want)
		}
	}
}

func TestCosignKeyIsPEMOrAFile(t *testing.T) {
	e := plugin("PLUGIN_COSIGN_PRIVATE_KEY=-----BEGIN PRIVATE KEY-----canary", "PLUGIN_COSIGN_PASSWORD=canary-password")
	got, err := settings.ReadPlugin(e)
	if err != nil || got.Sign.InFile || !slices.Contains(e.removed, "PLUGIN_COSIGN_PRIVATE_KEY") ||
		!slices.Contains(e.removed, "PLUGIN_COSIGN_PASSWORD") {
		t.Errorf("%+v, %v, removed %v", got.Sign, err, e.removed)
	}
	for _, want := range []string{"-----BEGIN PRIVATE KEY-----canary", "canary-password"} {
		if !slices.ContainsFunc(got.Secrets(), func(s secret.Secret) bool { return s.Reveal() == want }) {
			t.Errorf("the log would not mask %q", want)
		}
	}
	for _, shown := range got.Shown() {
		if strings.Contains(shown.Value, "canary") {
			t.Errorf("shown: %+v", shown)
		}
	}
	if got, err := settings.ReadPlugin(
		plugin("PLUGIN_COSIGN_PRIVATE_KEY=./cosign.key"),
	); err != nil ||
		!got.Sign.InFile {
		t.Errorf("%+v, %v", got.Sign, err)
	}
}

// A pull request's pipeline has no secrets, and builds all the same.
func TestWithoutACosignKeyTheLogSaysSo(t *testing.T) {
	got, err := settings.ReadPlugin(plugin("PLUGIN_COSIGN_PARAMS=-a build=7"))
	if err != nil || len(got.Warnings) != 1 ||
		!strings.Contains(got.Warnings[0], "the image is not signed: PLUGIN_COSIGN_PRIVATE_KEY is not set") {
		t.Errorf("%v, %v", got.Warnings, err)
	}
}
