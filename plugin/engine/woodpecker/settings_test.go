package woodpecker_test

import (
	"slices"
	"strings"
	"testing"

	"slipway/plugin/engine/pipeline"
)

// The printed settings are those that the extensions accept.
func TestPrintedSettingsWork(t *testing.T) {
	e := newEnv(t, "acme/builder", "")
	gateway := strings.TrimSuffix(e.extensions, "/extensions/woodpecker/")
	values := map[string]string{}
	for _, s := range e.ServerSettings(gateway) {
		values[s.Name] = s.Value
		if s.Why == "" || s.Value == "" {
			t.Errorf("server settings: got %+v, want a value and an explanation", s)
		}
		if !s.Secret.IsZero() {
			t.Errorf("value of %s: got a secret, want none", s.Name)
		}
	}
	e.server.SetExtensions(
		values["WOODPECKER_CONFIG_EXTENSION_ENDPOINT"], values["WOODPECKER_SECRET_EXTENSION_ENDPOINT"],
	)
	e.start()
	for _, subject := range []string{"config extension", "secret extension"} {
		if f := e.inspect()[subject]; !strings.Contains(f.Good, "with a valid signature") {
			t.Errorf("finding: got %+v, want a valid signature", f)
		}
	}
	if values["WOODPECKER_EXTENSIONS_ALLOWED_HOSTS"] != "external,127.0.0.1" ||
		values["WOODPECKER_PLUGINS_PRIVILEGED"] != "slipway" {
		t.Errorf("values: got %v, want our host and plugin", values)
	}
}

// A step with a remote builder needs no privilege.
func TestPrivilegeIsRequestedOnlyIfNeeded(t *testing.T) {
	with := newEnvWith(t, "", "", pipeline.Step{Image: "slipway", Builder: "tcp://builder:1234"})
	if slices.ContainsFunc(with.ServerSettings("https://slipway.example.com"), func(s pipeline.Setting) bool {
		return s.Name == "WOODPECKER_PLUGINS_PRIVILEGED"
	}) {
		t.Error("settings: got a request for privileges, want none")
	}
}
