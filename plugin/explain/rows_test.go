package explain_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/plugin/autobuild"
	"slipway/plugin/catalog/rulesfile"
)

const head = "0123456789abcdef0123456789abcdef01234567"

// rulesOf writes a rules file and returns its path.
func rulesOf(t *testing.T, rs ...autobuild.Rule) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rules.yaml")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	build := autobuild.AutomatedBuild{
		Repository: autobuild.Repository{FullName: "acme/app"}, Image: "reg/acme/app", Rules: rs,
	}
	if err := rulesfile.Encode(f, []rulesfile.Document{{Build: build}}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return file
}

func rule(kind autobuild.RefKind, source, tags string) autobuild.Rule {
	r := autobuild.DefaultRule(source)
	r.SourceType, r.Tags = kind, tags
	return r
}

// created returns the payload of a push that creates refs, each given as kind:name.
func created(t *testing.T, refs ...string) string {
	t.Helper()
	var changes []any
	for _, ref := range refs {
		kind, name, _ := strings.Cut(ref, ":")
		changes = append(changes, map[string]any{
			"old":     nil,
			"created": true,
			"new": map[string]any{
				"type":   kind,
				"name":   name,
				"target": map[string]any{"hash": head, "message": "Change\n"},
			},
		})
	}
	text, err := json.Marshal(map[string]any{
		"repository": map[string]any{"uuid": "{r}", "full_name": "acme/app"},
		"push":       map[string]any{"changes": changes},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// built returns the tags of the first change, one list per building rule.
func built(e explanation) [][]string {
	var all [][]string
	for _, d := range e.Changes[0].Decisions {
		if d.Build {
			all = append(all, d.Tags)
		}
	}
	return all
}

func TestRulesByRow(t *testing.T) {
	v := rule(autobuild.Tag, `/^v([0-9]+)\.([0-9]+)$/`, `{\1}.{\2},{\1},latest`)
	versions := rule(autobuild.Tag, `/^v(((([0-9]+)\.[0-9]+)\.[0-9]+)(-.+)?)$/`, `{\1},{\2},{\3},{\4}`)
	every := rule(autobuild.Branch, "/.*/", "{sourceref}")
	master := rule(autobuild.Branch, "master", "latest")
	for _, row := range []struct {
		name string
		rule autobuild.Rule
		ref  string
		tags []string
	}{
		{"R1", v, "tag:v1.2", []string{"1.2", "1", "latest"}},
		{"R2", v, "tag:v1.2.3", nil},
		{"R3", v, "branch:v1.2", nil},
		{"R4", rule(autobuild.Branch, "/[0-9.]+$/", "version-{sourceref}"), "branch:release-1.4",
			[]string{"version-release-1.4"}},
		{"R5", rule(autobuild.Tag, "/^[0-9.]+/", "release-{sourceref}"), "tag:1.2.0-rc", []string{"release-1.2.0-rc"}},
		{"R6", rule(autobuild.Tag, "/^v([0-9.]+)$/", `version-{\1}`), "tag:v1.0.0", []string{"version-1.0.0"}},
		{
			"R7", rule(autobuild.Tag, `/^v([0-9]+)\.([0-9]+)\.([0-9]+)$/`, `{\1}.{\2}.{\3},{\1}.{\2},{\1}`),
			"tag:v3.14.0", []string{"3.14.0", "3.14", "3"},
		},
		{"R8 with a suffix", versions, "tag:v0.5.3-rc1", []string{"0.5.3-rc1", "0.5.3", "0.5", "0"}},
		{"R8 without doubles", versions, "tag:v0.5.3", []string{"0.5.3", "0.5", "0"}},
		{"R9", rule(autobuild.Branch, "/(alice|bob)-v([0-9.]+)/", `{\1}-{\2}`), "branch:bob-v1.4", []string{"bob-1.4"}},
		{"R10 whole name", master, "branch:master2", nil},
		{"R10 case", master, "branch:Master", nil},
		{"R10", master, "branch:master", []string{"latest"}},
		{"R11", rule(autobuild.Tag, `/^v(\d+)(-rc)?$/`, `{\1}{\2}`), "tag:v3", []string{"3"}},
		{"R12", rule(autobuild.Tag, "/v[0-9]/", "{sourceref}"), "tag:xv1b", []string{"xv1b"}},
		{"R13 slash", every, "branch:feature/x", []string{"feature_x"}},
		{"R13 dash first", every, "branch:-rc", []string{"_rc"}},
		{"R13 beyond ASCII", every, "branch:é", []string{"_"}},
		{"R14", rule(autobuild.Tag, `/^v(\d+)$/`, `latest, v{\1} ,latest`), "tag:v2", []string{"latest", "v2"}},
		{"R17", rule(autobuild.Tag, `/^v(-rc)?/`, `{\1}`), "tag:v2", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			rules := rulesOf(t, row.rule)
			_, e := run(t, autobuild.Cloud, "repo:push", rules, created(t, row.ref))
			var want [][]string
			if row.tags != nil {
				want = [][]string{row.tags}
			}
			if diff := cmp.Diff(want, built(e)); diff != "" {
				t.Errorf("tags (-want +got), reason %q:\n%s", e.Changes[0].Decisions[0].Reason, diff)
			}
		})
	}
}

func TestR13TheRewriteIsReported(t *testing.T) {
	_, e := run(t, autobuild.Cloud, "repo:push", rulesOf(t, rule(autobuild.Branch, "/.*/", "{sourceref}")),
		created(t, "branch:feature/x"))
	want := `"feature/x" is written feature_x`
	if reason := e.Changes[0].Decisions[0].Reason; !strings.Contains(reason, want) {
		t.Errorf("reason: got %q, want %q in it", reason, want)
	}
}

func TestR15EveryRuleThatMatchesBuilds(t *testing.T) {
	rules := rulesOf(t, rule(autobuild.Branch, "main", "latest"), rule(autobuild.Branch, "/^m/", "edge"),
		rule(autobuild.Tag, "/x/", "x"))
	_, e := run(t, autobuild.Cloud, "repo:push", rules, created(t, "branch:main"))
	if diff := cmp.Diff([][]string{{"latest"}, {"edge"}}, built(e)); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	if got := len(e.Changes[0].Decisions); got != 3 {
		t.Errorf("decisions for 3 rules: got %d, want 3", got)
	}
}

func TestR17ADecisionWithoutATagHasAReason(t *testing.T) {
	rules := rulesOf(t, rule(autobuild.Tag, "/^v(-rc)?/", `{\1}`))
	_, e := run(t, autobuild.Cloud, "repo:push", rules, created(t, "tag:v2"))
	if reason := e.Changes[0].Decisions[0].Reason; !strings.Contains(reason, "no valid tag") {
		t.Errorf("reason: got %q, want that there is no valid tag", reason)
	}
}

func TestR18WithAutobuildOffARuleBuildsNothing(t *testing.T) {
	r := rule(autobuild.Branch, "main", "latest")
	r.Autobuild = false
	_, e := run(t, autobuild.Cloud, "repo:push", rulesOf(t, r), created(t, "branch:main"))
	d := e.Changes[0].Decisions[0]
	if d.Build {
		t.Error("got a build, want none")
	}
	if want := "autobuild is off"; !strings.Contains(d.Reason, want) {
		t.Errorf("reason: got %q, want %q in it", d.Reason, want)
	}
}

func TestR19ToR21ContextAndDockerfile(t *testing.T) {
	for _, row := range []struct{ name, context, dockerfile, wantContext, wantDockerfile string }{
		{"R19", "/", "/docker/Dockerfile.prod", ".", "docker/Dockerfile.prod"},
		{"R20", "", "/svc/a/Dockerfile", "svc/a", "svc/a/Dockerfile"},
		{"R21", "/svc/a", "/", "svc/a", "svc/a/Dockerfile"},
		{"the default", "/", "Dockerfile", ".", "Dockerfile"},
		{"nothing at all", "", "", ".", "Dockerfile"},
		{"unclean", "//svc/./a/", "./build//Dockerfile", "svc/a", "svc/a/build/Dockerfile"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := rule(autobuild.Branch, "main", "latest")
			r.Context, r.Dockerfile = row.context, row.dockerfile
			_, e := run(t, autobuild.Cloud, "repo:push", rulesOf(t, r), created(t, "branch:main"))
			d := e.Changes[0].Decisions[0]
			if d.Context != row.wantContext {
				t.Errorf("context: got %q, want %q", d.Context, row.wantContext)
			}
			if d.Dockerfile != row.wantDockerfile {
				t.Errorf("dockerfile: got %q, want %q", d.Dockerfile, row.wantDockerfile)
			}
		})
	}
}

func TestP1PullRequestsAreNotTestedByThisVersion(t *testing.T) {
	for _, file := range []string{"internal", "fork", "to-unbuilt-branch"} {
		rules := rulesOf(t, rule(autobuild.Branch, "main", "latest"), rule(autobuild.Tag, "/.*/", "x"))
		_, e := run(t, autobuild.Cloud, "pullrequest:created", rules,
			read(t, filepath.Join(webhooks, "cloud", "pullrequest.created--"+file+".json")))
		for _, d := range e.Changes[0].Decisions {
			if d.Build {
				t.Errorf("%s: got a build, want none", file)
			}
			if want := "pull requests are not tested by this version"; d.Reason != want {
				t.Errorf("%s: got the reason %q, want %q", file, d.Reason, want)
			}
		}
	}
}

// A commit that says [skip ci] is built if the automated build says so.
func TestW21SkipCICanBeTurnedOff(t *testing.T) {
	const text = "version: 1\nskip_ci: %t\nrules:\n- {source_type: branch, source: main, tags: latest}\n"
	for on, builds := range map[bool]bool{true: false, false: true} {
		_, e := run(t, autobuild.Cloud, "repo:push", write(t, "r.yaml", fmt.Sprintf(text, on)),
			read(t, filepath.Join(webhooks, "cloud", "repo.push--skip-ci.json")))
		if got := e.Changes[0].Decisions[0].Build; got != builds {
			t.Errorf("skip_ci: %t: got build %t, want %t", on, got, builds)
		}
	}
}
