package woodpecker_test

import (
	"slices"
	"strings"
	"testing"

	"slipway/plugin/engine/pipeline"
)

// The settings that are shown are those with which the extensions are asked.
func TestSettingsAreThoseThatWork(t *testing.T) {
	b := newBench(t, "acme/builder", "")
	gateway := strings.TrimSuffix(b.extensions, "/extensions/woodpecker/")
	values := map[string]string{}
	for _, s := range b.ServerSettings(gateway) {
		values[s.Name] = s.Value
		if s.Why == "" || s.Value == "" || !s.Secret.IsZero() {
			t.Errorf("%+v", s)
		}
	}
	b.server.SetExtensions(values["WOODPECKER_CONFIG_EXTENSION_ENDPOINT"], values["WOODPECKER_SECRET_EXTENSION_ENDPOINT"])
	b.start()
	for _, subject := range []string{"config extension", "secret extension"} {
		if f := b.inspect()[subject]; !strings.Contains(f.Good, "well signed") {
			t.Errorf("%+v", f)
		}
	}
	if values["WOODPECKER_EXTENSIONS_ALLOWED_HOSTS"] != "external,127.0.0.1" || values["WOODPECKER_PLUGINS_PRIVILEGED"] != "slipway" {
		t.Errorf("values %v", values)
	}
}

// A step that uses a builder elsewhere needs no privilege.
func TestPrivilegeIsAskedForWhereItIsNeeded(t *testing.T) {
	with := newBenchWith(t, "", "", pipeline.Step{Image: "slipway", Builder: "tcp://builder:1234"})
	if slices.ContainsFunc(with.ServerSettings("https://slipway.example.com"), func(s pipeline.Setting) bool {
		return s.Name == "WOODPECKER_PLUGINS_PRIVILEGED"
	}) {
		t.Error("privilege is asked for")
	}
}
