package settings_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/secret"
	"slipway/runner/settings"
	"slipway/runner/spec"
)

const joinedImage = "registry.example.com/acme/app"

// A step under a gateway learns its image with its work, and its login is for that image's registry.
func TestLoginsOfAStepUnderAGateway(t *testing.T) {
	login := func(host, user string, edit ...func(*spec.RegistryCredential)) spec.RegistryCredential {
		r := spec.RegistryCredential{
			Host:       host,
			Credential: spec.Credential{Username: user, Password: secret.New("canary")},
		}
		for _, do := range edit {
			do(&r)
		}
		return r
	}
	pullOnly := func(r *spec.RegistryCredential) { r.PullOnly = true }
	insecure := func(r *spec.RegistryCredential) { r.Insecure = true }
	for name, test := range map[string]struct {
		lines []string
		want  []spec.RegistryCredential
		note  string
	}{
		"none": {nil, []spec.RegistryCredential{}, ""},
		"user and password": {
			[]string{"PLUGIN_USERNAME=ci", "PLUGIN_PASSWORD=canary"},
			[]spec.RegistryCredential{login("registry.example.com", "ci")}, "",
		},
		"other names": {
			[]string{"DOCKER_USERNAME=ci", "DOCKER_PASSWORD=canary"},
			[]spec.RegistryCredential{login("registry.example.com", "ci")}, "",
		},
		"a registry": {
			[]string{
				"PLUGIN_REGISTRY=registry.example.com/acme", "PLUGIN_USERNAME=ci", "PLUGIN_PASSWORD=canary",
			},
			[]spec.RegistryCredential{login("registry.example.com/acme", "ci")}, "",
		},
		"plain HTTP": {
			[]string{"PLUGIN_USERNAME=ci", "PLUGIN_PASSWORD=canary", "PLUGIN_INSECURE=true"},
			[]spec.RegistryCredential{login("registry.example.com", "ci", insecure)}, "",
		},
		"config": {
			[]string{`PLUGIN_CONFIG={"auths":{"registry.example.com":{"auth":"Y2k6Y2FuYXJ5"}}}`},
			[]spec.RegistryCredential{login("registry.example.com", "ci")}, "",
		},
		"several": {
			[]string{
				`PLUGIN_LOGINS=[{"registry":"registry.example.com","username":"ci","password":"canary"},{"registry":"ghcr.io","username":"jo","password":"canary"}]`,
			},
			[]spec.RegistryCredential{login("registry.example.com", "ci"), login("ghcr.io", "jo")}, "",
		},
		"base images": {
			[]string{
				"PLUGIN_BASE_IMAGE_REGISTRY=docker.io", "PLUGIN_BASE_IMAGE_USERNAME=jo",
				"PLUGIN_BASE_IMAGE_PASSWORD=canary",
			},
			[]spec.RegistryCredential{login("docker.io", "jo", pullOnly)}, "",
		},
		"for another": {
			[]string{"PLUGIN_REGISTRY=ghcr.io", "PLUGIN_USERNAME=ci", "PLUGIN_PASSWORD=canary"},
			[]spec.RegistryCredential{login("ghcr.io", "ci")},
			"is for ghcr.io, and the image is registry.example.com/acme/app",
		},
		"mirrors have no effect": {
			[]string{
				`PLUGIN_LOGINS=[{"registry":"docker.io","username":"ci","password":"canary","mirrors":["https://mirror.example.com"]}]`,
			},
			[]spec.RegistryCredential{login("docker.io", "ci")}, "mirrors in PLUGIN_LOGINS have no effect",
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := pipelineStep(test.lines...)
			j, err := settings.ReadPipelineRequest(e)
			if err != nil {
				t.Fatal(err)
			}
			if shown := fmt.Sprintf("%+v", j); strings.Contains(shown, "canary") {
				t.Errorf("settings: got %s, want no secret in it", shown)
			}
			got, notes, err := j.Logins.For(joinedImage)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, cmp.Comparer(secret.Secret.Equal)); diff != "" {
				t.Errorf("logins (-want +got):\n%s", diff)
			}
			joined := strings.Join(notes, "\n")
			if !strings.Contains(joined, test.note) {
				t.Errorf("got notes %q, want %q in them", notes, test.note)
			}
			if test.note == "" && joined != "" {
				t.Errorf("got notes %q, want none", notes)
			}
			for _, line := range test.lines {
				name, value, _ := strings.Cut(line, "=")
				secretive := strings.Contains(value, "canary") || strings.Contains(value, "auths")
				if secretive && !strings.Contains(strings.Join(e.removed, " "), name) {
					t.Errorf("environment: got %s, want it removed", name)
				}
			}
		})
	}
}

func TestFaultsInLoginsOfAStepUnderAGateway(t *testing.T) {
	checkFaults(
		t,
		func(line string) error { _, err := settings.ReadPipelineRequest(pipelineStep(line)); return err },
		map[string]string{
			"PLUGIN_USERNAME=ci":        "PLUGIN_USERNAME is set without PLUGIN_PASSWORD: set both",
			"PLUGIN_PASSWORD=canary":    "PLUGIN_PASSWORD is set without PLUGIN_USERNAME: set both",
			"PLUGIN_REGISTRY=a b":       "PLUGIN_REGISTRY: ",
			"PLUGIN_INSECURE=sometimes": "PLUGIN_INSECURE",
			"PLUGIN_LOGINS=canary":      "PLUGIN_LOGINS is not a JSON list",
			"PLUGIN_CONFIG=canary":      "PLUGIN_CONFIG is not a config.json",
		},
	)
}
