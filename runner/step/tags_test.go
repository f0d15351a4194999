package step_test

import (
	"net/http"
	"strings"
	"testing"

	"slipway/runner/runnertest"
)

func TestStandaloneMakesTheTagsOfARelease(t *testing.T) {
	e := newEnv(t)
	log, err := e.run(append(runnertest.OnRef("refs/tags/v1.2.3+5"), "PLUGIN_AUTO_TAG=true", "PLUGIN_TAGS=latest,abc")...)
	if err != nil || e.Registry.Tags() != "1.2.3_5 abc" {
		t.Errorf("%v, tags %q", err, e.Registry.Tags())
	}
	for _, want := range []string{"1.2.3_5, abc (PLUGIN_AUTO_TAG, PLUGIN_TAGS)", `tags: "1.2.3+5" is pushed as "1.2.3_5"`, "[plus]", "tags: latest is not moved (tag ", "[latest-prerelease]", "pushed  1.2.3_5, abc"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %q:\n%s", want, log)
		}
	}
}

// A branch that auto_tag makes no tags of ends well, before anything is asked or built.
func TestStandaloneSkipsABranchThatAutoTagLeavesOut(t *testing.T) {
	for _, mode := range []string{"docker", "buildx", "slipway"} {
		e := newEnv(t)
		e.Registry.Intercept(
			func(_ http.ResponseWriter, r *http.Request, _ http.Handler) { t.Errorf("%s %s", r.Method, r.URL) },
		)
		log, err := e.run(
			append(runnertest.OnRef("refs/heads/feature/x"), "PLUGIN_AUTO_TAG=true", "PLUGIN_AUTO_TAG_MODE="+mode)...)
		if err != nil || len(e.Builder.Requests) != 0 ||
			!strings.Contains(
				log,
				"skipped: auto_tag makes tags of the default branch and of Git tags alone: this is branch \"feature/x\"",
			) {
			t.Errorf("%s: %v, %d builds\n%s", mode, err, len(e.Builder.Requests), log)
		}
	}
}

func TestStandaloneBuildsABranchWithoutTagsAndPushesNothing(t *testing.T) {
	e := newEnv(t)
	e.Registry.Intercept(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) { t.Errorf("%s %s", r.Method, r.URL) })
	log, err := e.run(runnertest.OnRef("refs/heads/feature/x")...)
	if err != nil || len(e.Builder.Requests) != 1 || !strings.Contains(log, "[latest-unnamed]") ||
		!strings.Contains(log, "none: there is no tag to push") {
		t.Errorf("%v, %d builds\n%s", err, len(e.Builder.Requests), log)
	}
}
