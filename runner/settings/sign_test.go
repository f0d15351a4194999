package settings_test

import (
	"strings"
	"testing"

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
		got := readPlugin(t, "PLUGIN_COSIGN_PRIVATE_KEY=cosign.key", "PLUGIN_COSIGN_PARAMS="+params)
		checkSame(t, params, got.Sign.Annotations, want)
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
		err := pluginError("PLUGIN_COSIGN_PRIVATE_KEY=cosign.key", "PLUGIN_COSIGN_PARAMS="+params)
		checkError(t, params, err, "PLUGIN_COSIGN_PARAMS", want)
	}
}

func TestCosignKeyIsPEMOrAFile(t *testing.T) {
	e := plugin("PLUGIN_COSIGN_PRIVATE_KEY=-----BEGIN PRIVATE KEY-----canary", "PLUGIN_COSIGN_PASSWORD=canary-password")
	got, err := settings.ReadPlugin(e)
	if err != nil {
		t.Fatal(err)
	}
	checkEqual(t, "key in a file", got.Sign.InFile, false)
	checkRemoved(t, e, "PLUGIN_COSIGN_PRIVATE_KEY", "PLUGIN_COSIGN_PASSWORD")
	checkMasked(t, got, "-----BEGIN PRIVATE KEY-----canary")
	checkMasked(t, got, "canary-password")
	for _, shown := range got.Shown() {
		if strings.Contains(shown.Value, "canary") {
			t.Errorf("setting: got %+v, want no secret in it", shown)
		}
	}
	checkEqual(t, "key in a file", readPlugin(t, "PLUGIN_COSIGN_PRIVATE_KEY=./cosign.key").Sign.InFile, true)
}

// A pull request's pipeline has no secrets, and builds all the same.
func TestAMissingCosignKeyIsNoted(t *testing.T) {
	checkNotes(
		t,
		"without a key",
		readPlugin(t, "PLUGIN_COSIGN_PARAMS=-a build=7").Warnings,
		"the image is not signed: PLUGIN_COSIGN_PASSWORD or PLUGIN_COSIGN_PARAMS is set without PLUGIN_COSIGN_PRIVATE_KEY",
	)
}
