package settings_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"slipway/config/identity/identitytest"
	"slipway/runner/settings"
)

// The files that users copy contain settings that the step accepts.
func TestTheExampleFilesHoldSettingsOfTheStep(t *testing.T) {
	for _, file := range []string{".drone.yml", ".woodpecker.yaml"} {
		text, err := os.ReadFile("../../deploy/own-pipeline/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for name, variant := range map[string]string{
			"privileged": string(text),
			"builder":    strings.NewReplacer("# builder", "builder", "#   from_secret: slipway_builder_tls", "  from_secret: slipway_builder_tls").Replace(string(text)),
		} {
			environ := environOf(t, stepOf(t, variant))
			if i := slices.Index(environ, "PLUGIN_BUILDER_TLS=slipway_builder_tls"); i >= 0 {
				environ[i] = "PLUGIN_BUILDER_TLS=" + identitytest.PEM(t)
			}
			got, err := settings.ReadPipelineRequest(
				&environment{lines: append(environ, "DRONE_COMMIT_SHA="+commit, "DRONE_COMMIT_REF=refs/heads/main")},
			)
			if err != nil {
				t.Errorf("%s, %s: %v", file, name, err)
			}
			all, _, err := got.Logins.For("registry.example.com/acme/app")
			if err != nil {
				t.Errorf("%s, %s: %v", file, name, err)
			}
			if len(all) != 1 {
				t.Fatalf("%s, %s: got logins %+v, want one", file, name, all)
			}
			checkEqual(t, file+": registry", all[0].Host, "registry.example.com")
			checkEqual(t, file+": user", all[0].Username, "registry_username")
			checkEqual(t, file+": gateway", got.Gateway, "https://slipway.example.com")
			checkEqual(t, file+": token", got.Token.Reveal(), "slipway_token")
			checkEqual(t, file+": with a builder", got.Builder != "", name == "builder")
			checkEqual(t, file+": with a certificate", !got.BuilderTLS.IsZero(), name == "builder")
		}
	}
}

// stepOf returns the settings of the one step that has any.
func stepOf(t *testing.T, text string) map[string]any {
	t.Helper()
	var file struct {
		Steps []struct {
			Settings map[string]any `yaml:"settings"`
		} `yaml:"steps"`
	}
	if err := yaml.Unmarshal([]byte(text), &file); err != nil {
		t.Fatal(err)
	}
	for _, s := range file.Steps {
		if s.Settings != nil {
			return s.Settings
		}
	}
	t.Fatal("steps with settings: got none, want one")
	return nil
}

// environOf returns a step's settings as a CI passes them. The value of a secret is its name.
func environOf(t *testing.T, s map[string]any) []string {
	t.Helper()
	var lines []string
	for name, value := range s {
		text, ok := value.(string)
		if from, isSecret := value.(map[string]any); isSecret {
			text, ok = from["from_secret"].(string)
		}
		if !ok {
			t.Fatalf("setting %s: got %v, want a string", name, value)
		}
		lines = append(lines, "PLUGIN_"+strings.ToUpper(name)+"="+text)
	}
	return lines
}
