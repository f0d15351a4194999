package step_test

import (
	"net/http"
	"strings"
	"testing"

	"slipway/runner/runnertest"
)

func TestStepMakesTheTagsOfARelease(t *testing.T) {
	e := newEnv(t)
	log, err := e.run(
		append(runnertest.OnRef("refs/tags/v1.2.3+5"), "PLUGIN_AUTO_TAG=true", "PLUGIN_TAGS=latest,abc")...)
	if err != nil {
		t.Fatalf("step: %v", err)
	}
	if got := e.Registry.Tags(); got != "1.2.3_5 abc" {
		t.Errorf("Tags(): got %q, want %q", got, "1.2.3_5 abc")
	}
	for _, want := range []string{"1.2.3_5, abc (PLUGIN_AUTO_TAG, PLUGIN_TAGS)", `tags: "1.2.3+5" is pushed as "1.2.3_5"`, "[plus]", "tags: latest is not moved (tag ", "[latest-prerelease]", "pushed  1.2.3_5, abc"} {
		if !strings.Contains(log, want) {
			t.Errorf("log: got:\n%s\nwant %q in it", log, want)
		}
	}
}

// A branch without automatic tags succeeds before any request and any build.
func TestStepSkipsABranchThatAutoTagLeavesOut(t *testing.T) {
	for _, mode := range []string{"docker", "buildx", "slipway"} {
		e := newEnv(t)
		e.Registry.Intercept(
			func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
				t.Errorf("request to the registry: got %s %s, want none", r.Method, r.URL)
			},
		)
		log, err := e.run(
			append(runnertest.OnRef("refs/heads/feature/x"), "PLUGIN_AUTO_TAG=true", "PLUGIN_AUTO_TAG_MODE="+mode)...)
		if err != nil {
			t.Errorf("%s: got error %v, want nil\n%s", mode, err, log)
			continue
		}
		if got := len(e.Builder.Requests); got != 0 {
			t.Errorf("%s: builds: got %v, want %v", mode, got, 0)
		}
		runnertest.CheckHas(
			t,
			mode+": the log",
			log,
			"skipped: auto_tag makes tags of the default branch and of Git tags only: this is branch \"feature/x\"",
		)
	}
}

func TestStepBuildsABranchWithoutTagsAndPushesNothing(t *testing.T) {
	e := newEnv(t)
	e.Registry.Intercept(
		func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
			t.Errorf("request to the registry: got %s %s, want none", r.Method, r.URL)
		},
	)
	log, err := e.run(runnertest.OnRef("refs/heads/feature/x")...)
	if err != nil {
		t.Fatalf("step: %v\n%s", err, log)
	}
	if got := len(e.Builder.Requests); got != 1 {
		t.Errorf("builds: got %v, want %v", got, 1)
	}
	runnertest.CheckHas(t, "the log", log, "[latest-unnamed]")
	runnertest.CheckHas(t, "the log", log, "none: there is no tag to push")
}

// The log and the commit status show the tags of each destination, and not those of all of them.
func TestEachDestinationHasItsOwnTags(t *testing.T) {
	e := newEnv(t)
	app, tools := e.Registry.Image(), e.Registry.Host()+"/acme/tools"
	log, err := e.run(
		"PLUGIN_REPO=",
		"PLUGIN_DESTINATIONS="+strings.Join([]string{app + ":1.2", app + ":1", tools + ":2"}, ","),
	)
	if err != nil {
		t.Fatalf("step: %v\n%s", err, log)
	}
	header, end, _ := strings.Cut(log, "\n"+app+"\n"+tools+"\n")
	for _, tags := range []string{app + ": 1.2, 1", tools + ": 2"} {
		runnertest.CheckHas(t, "the header", header, tags+" (PLUGIN_DESTINATIONS)\n")
		runnertest.CheckHas(t, "the summary", end, "  pushed  "+tags+"\n")
	}
	if union := "1.2, 1, 2"; strings.Contains(log, union) {
		t.Errorf("log: got the tags %q of all destinations, want those of each:\n%s", union, log)
	}
	for ref, there := range map[string]bool{app + ":1": true, app + ":2": false, tools + ":2": true, tools + ":1": false} {
		if got := runnertest.Digest(t, ref) != ""; got != there {
			t.Errorf("%s: got it pushed %t, want %t", ref, got, there)
		}
	}
}
