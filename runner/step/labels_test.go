package step_test

import (
	"testing"

	"slipway/runner/runnertest"

	"github.com/google/go-cmp/cmp"
)

// The labels hold the facts of the CI. A setting with the same label takes precedence, in the
// annotation too.
func TestLabelsHoldTheFactsOfTheCI(t *testing.T) {
	e := newEnv(t)
	if _, err := e.run(
		"DRONE_COMMIT_SHA=4f1d0c8",
		"DRONE_REMOTE_URL=https://ci:canary@bitbucket.org/acme/app.git",
		"DRONE_REPO_LINK=https://bitbucket.org/acme/app",
		"DRONE_COMMIT_REF=refs/tags/v1.2.3",
		"PLUGIN_LABELS=team=a,org.opencontainers.image.revision=mine",
		"PLUGIN_LABEL_SCHEMA=vendor=Acme",
	); err != nil {
		t.Fatal(err)
	}
	o := e.Builder.Requests[0].Options
	if o.Annotations["org.opencontainers.image.created"] == "" {
		t.Errorf("annotations: got %v, want the time of creation in them", o.Annotations)
	}
	delete(o.Annotations, "org.opencontainers.image.created")
	delete(o.Labels, "org.opencontainers.image.created")
	want := map[string]string{
		"org.opencontainers.image.revision": "mine",
		"org.opencontainers.image.source":   "https://bitbucket.org/acme/app.git",
		"org.opencontainers.image.url":      "https://bitbucket.org/acme/app",
		"org.opencontainers.image.version":  "1.2.3",
		"org.opencontainers.image.vendor":   "Acme",
	}
	if diff := cmp.Diff(want, o.Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	want["team"] = "a"
	if diff := cmp.Diff(want, o.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
}

func TestNoLabelsOfTheCIWhereTheyAreOff(t *testing.T) {
	e := newEnv(t)
	log, err := e.run(
		"PLUGIN_AUTO_LABEL=false",
		"PLUGIN_LABEL=team=a",
		"DRONE_COMMIT_SHA=4f1d0c8",
		"PLUGIN_PLATFORMS=linux/amd64,linux/arm64",
		"PLUGIN_BUILDKIT_DEBUG=true",
	)
	if err != nil {
		t.Fatalf("step: %v\n%s", err, log)
	}
	runnertest.CheckHas(t, "the log", log, "platforms   linux/amd64, linux/arm64 (PLUGIN_PLATFORMS)")
	runnertest.CheckHas(t, "the log", log, "note: PLUGIN_BUILDKIT_DEBUG has no effect")
	r := e.Builder.Requests[0]
	diff := cmp.Diff(map[string]string{"team": "a"}, r.Options.Labels)
	if diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if r.Options.Annotations != nil {
		t.Errorf("annotations: got %v, want none", r.Options.Annotations)
	}
	if got := len(r.Platforms); got != 2 {
		t.Errorf("platforms: got %v, want %v", got, 2)
	}
}

// A branch may be tagged later, and a tag that is not a version is none in its image either.
func TestOnlyAVersionIsLabelledAsOne(t *testing.T) {
	for tag, want := range map[string]string{"v1.2.3-rc.1": "1.2.3-rc.1", "1.2": "1.2", "nightly": "", "": ""} {
		e := newEnv(t)
		if _, err := e.run("CI_COMMIT_TAG=" + tag); err != nil {
			t.Fatal(err)
		}
		if got := e.Builder.Requests[0].Options.Labels["org.opencontainers.image.version"]; got != want {
			t.Errorf("version label for tag %q: got %q, want %q", tag, got, want)
		}
	}
}

// Without a fixed date in its labels, an image is another one after each build.
func TestTheLabelOfTheDateFollowsTheSourceDate(t *testing.T) {
	const want = "2023-11-14T22:13:20Z"
	for name, environ := range map[string][]string{
		"of the environment":  {"PLUGIN_OUTPUT=type=image,rewrite-timestamp=true", "SOURCE_DATE_EPOCH=1700000000"},
		"of a build argument": {"PLUGIN_BUILD_ARGS=SOURCE_DATE_EPOCH=1700000000"},
	} {
		e := newEnv(t)
		if _, err := e.run(environ...); err != nil {
			t.Fatal(err)
		}
		o := e.Builder.Last().Options
		if got := o.Labels["org.opencontainers.image.created"]; got != want {
			t.Errorf("%s: label: got %q, want %q", name, got, want)
		}
		if got := o.Annotations["org.opencontainers.image.created"]; got != want {
			t.Errorf("%s: annotation: got %q, want %q", name, got, want)
		}
	}
}
