package woodpecker_test

import (
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/plugin/engine/pipeline"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestTheWorkflow(t *testing.T) {
	for name, step := range map[string]pipeline.Step{
		"plain": {Image: "slipway"},
		"full": {
			Image: "registry.example.com/tools/slipway:1.2@sha256:ab", Builder: "tcp://builder:1234",
			Labels: map[string]string{"disk": "ssd", "zone": "a: #b"},
		},
		"hostile": {Image: "a\n      - name: evil", Builder: `"${CI_REPO}'`, Labels: map[string]string{"yes": "on"}},
	} {
		t.Run(name, func(t *testing.T) {
			step.URL = func(string) string { return "https://slipway.example.com/runner/v1/builds/17" }
			e := newEnvWith(t, "acme/builder", "", step)
			w := e.ask(configPath, e.requestBody(1, nil), nil)
			var reply struct{ Configs []struct{ Name, Data string } }
			if w.Code != http.StatusOK {
				t.Fatalf("status: got %d %s, want 200", w.Code, w.Body)
			}
			must.Succeed(t, json.Unmarshal(w.Body.Bytes(), &reply))
			if len(reply.Configs) != 1 || reply.Configs[0].Name != "slipway" {
				t.Fatalf("configurations: got %+v, want one named slipway", reply.Configs)
			}
			got := reply.Configs[0].Data
			golden := filepath.Join("testdata", name+".golden.yaml")
			if *update {
				must.Succeed(t, os.WriteFile(golden, []byte(got), 0o600))
			}
			want, err := os.ReadFile(golden)
			must.Succeed(t, err)
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("configuration (-want +got; -update writes it anew):\n%s", diff)
			}
			roundTrip(t, got, step)
		})
	}
}

// roundTrip parses a workflow as Woodpecker does: each option is one value of one key.
func roundTrip(t *testing.T, text string, want pipeline.Step) {
	t.Helper()
	var read struct {
		When      []map[string]string
		Labels    map[string]string
		SkipClone bool `yaml:"skip_clone"`
		Steps     []struct {
			Name, Image string
			Settings    struct {
				URL     string            `yaml:"runner_url"`
				Token   map[string]string `yaml:"runner_token"`
				Hooks   string            `yaml:"runner_hooks"`
				Builder string
			}
		}
	}
	must.Succeed(t, yaml.UnmarshalWithOptions([]byte(strings.ReplaceAll(text, "$$", "$")), &read, yaml.Strict()))
	if len(read.Steps) != 1 {
		t.Fatalf("steps: got %+v, want one", read.Steps)
	}
	if !read.SkipClone {
		t.Error("clone of the workflow: got one, want none")
	}
	if len(read.When) != 1 || read.When[0]["event"] != "manual" {
		t.Errorf("when: got %+v, want the event manual", read.When)
	}
	got := pipeline.Step{Image: read.Steps[0].Image, Builder: read.Steps[0].Settings.Builder, Labels: read.Labels}
	want.URL = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read back (-want +got)\n%s", diff)
	}
	if s := read.Steps[0].Settings; s.Hooks != "on" || s.Token["from_secret"] != pipeline.TokenSecret {
		t.Errorf("settings of the step: got %+v, want hooks and the token", s)
	}
}
