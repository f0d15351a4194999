package explain_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/plugin/autobuild"
	"slipway/plugin/explain"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const (
	webhooks = "../../testdata/webhooks"
	ruleDir  = "../../testdata/rules"
)

// An explanation is the output of explain, decoded independently of the package's types.
type explanation struct {
	Event      string
	Repository struct {
		UUID     string `json:"uuid"`
		ID       int64  `json:"id"`
		FullName string `json:"full_name"`
	}
	Changes []change
	Skipped []string
	Ignored string
}

type change struct {
	Kind, Name, Action, Commit, Source, Target string
	Fork                                       bool
	Decisions                                  []decision
}

type decision struct {
	Rule                string
	Build, Publish      bool
	Tags                []string
	Dockerfile, Context string
	Reason              string
}

// run explains a payload and checks the properties of every explanation.
func run(t *testing.T, kind autobuild.ProviderKind, event, rules, payload string) ([]byte, explanation) {
	t.Helper()
	var out bytes.Buffer
	err := explain.Run(t.Context(), explain.Options{
		Provider: string(kind), Event: event, RulesFile: rules, Payload: "-",
		Stdin: strings.NewReader(payload), Stdout: &out,
	})
	if err != nil {
		t.Fatalf("explain: %v", err)
	}
	if strings.Contains(out.String(), "null") {
		t.Errorf("explanation: got a null in it, want none:\n%s", out.String())
	}
	var e explanation
	if err := json.Unmarshal(out.Bytes(), &e); err != nil {
		t.Fatal(err)
	}
	for _, c := range e.Changes {
		for _, d := range c.Decisions {
			checkDecision(t, c.Kind+" "+c.Name, d)
		}
	}
	return out.Bytes(), e
}

// checkDecision checks the properties of every decision.
func checkDecision(t *testing.T, change string, d decision) {
	t.Helper()
	if d.Reason == "" {
		t.Errorf("%s: got no reason, want one: %+v", change, d)
	}
	if d.Build != (len(d.Tags) > 0) {
		t.Errorf("%s: got build %t with the tags %q, want tags only for a build", change, d.Build, d.Tags)
	}
	if d.Build != (d.Dockerfile != "") {
		t.Errorf(
			"%s: got build %t with the Dockerfile %q, want a Dockerfile only for a build",
			change,
			d.Build,
			d.Dockerfile,
		)
	}
	if d.Publish && !d.Build {
		t.Errorf("%s: got publish true without a build, want false", change)
	}
}

// payloads returns all payload files of a flavor with the event key from their file names.
func payloads(t *testing.T, flavor string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(webhooks, flavor, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatalf("payloads of %s: got none, want some", flavor)
	}
	events := map[string]string{}
	for _, f := range files {
		event, _, ok := strings.Cut(filepath.Base(f), "--")
		if !ok {
			t.Fatalf("file name: got %s, want the form EVENT--CASE.json", f)
		}
		events[f] = strings.ReplaceAll(event, ".", ":")
	}
	return events
}

// TestPayloads compares the decisions for every sample payload with its golden file. If
// SLIPWAY_FIXTURES is set, it also compares recorded payloads of other projects with their
// manifest.
func TestPayloads(t *testing.T) {
	kinds := map[string]autobuild.ProviderKind{"cloud": autobuild.Cloud, "datacenter": autobuild.DataCenter}
	for flavor, kind := range kinds {
		for file, event := range payloads(t, flavor) {
			t.Run(flavor+"/"+filepath.Base(file), func(t *testing.T) {
				got, _ := run(t, kind, event, filepath.Join(ruleDir, "app.yaml"), read(t, file))
				golden := strings.TrimSuffix(file, ".json") + ".golden"
				if *update {
					if err := os.WriteFile(golden, got, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				if diff := cmp.Diff(read(t, golden), string(got)); diff != "" {
					t.Errorf("%s (-want +got; run with -update if the change is intended):\n%s", golden, diff)
				}
			})
		}
	}
	for _, f := range fixtures(t) {
		t.Run("fixtures/"+f.name, func(t *testing.T) { checkFixture(t, f) })
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
