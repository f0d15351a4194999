package ci_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/runner/ci"
)

// onDrone and onWoodpecker return environments of steps on real servers, with only the variables that
// Read uses.
// Sources: https://docs.drone.io/pipeline/environment/reference/,
// https://woodpecker-ci.org/docs/usage/environment
func onDrone() map[string]string {
	return map[string]string{
		"CI":                   "true",
		"DRONE":                "true",
		"DRONE_BUILD_EVENT":    "push",
		"DRONE_COMMIT_REF":     "refs/heads/main",
		"DRONE_COMMIT_SHA":     "4f1d0c8f6c0b4bd0a2e3a1f5f0c9b8a7d6e5c4b3",
		"DRONE_COMMIT":         "other",
		"DRONE_COMMIT_LINK":    "https://bitbucket.org/acme/app/commits/4f1d0c8",
		"DRONE_COMMIT_MESSAGE": "Greet",
		"DRONE_BRANCH":         "main",
		"DRONE_COMMIT_BRANCH":  "main",
		"DRONE_SOURCE_BRANCH":  "main",
		"DRONE_REPO_BRANCH":    "main",
		"DRONE_REPO":           "acme/app",
		"DRONE_REPO_NAMESPACE": "acme",
		"DRONE_REPO_NAME":      "app",
		"DRONE_REPO_LINK":      "https://bitbucket.org/acme/app",
		"DRONE_REMOTE_URL":     "https://ci:canary@bitbucket.org/acme/app.git",
		"DRONE_BUILD_LINK":     "https://drone.example.com/acme/app/17",
		"DRONE_BUILD_NUMBER":   "17",
		"DRONE_STAGE_NAME":     "default",
		"DRONE_STEP_NAME":      "image",
		"DRONE_TAG":            "",
	}
}

func onWoodpecker() map[string]string {
	return map[string]string{
		"CI":                     "woodpecker",
		"CI_SYSTEM_NAME":         "woodpecker",
		"CI_PIPELINE_EVENT":      "tag",
		"CI_COMMIT_REF":          "refs/tags/v1.2.3",
		"DRONE_COMMIT_REF":       "refs/tags/v1.2.3",
		"CI_COMMIT_TAG":          "v1.2.3",
		"CI_COMMIT_BRANCH":       "v1.2.3",
		"DRONE_BRANCH":           "v1.2.3",
		"CI_COMMIT_SHA":          "4f1d0c8f6c0b4bd0a2e3a1f5f0c9b8a7d6e5c4b3",
		"CI_REPO_DEFAULT_BRANCH": "main",
		"CI_REPO":                "PRJ/app",
		"CI_REPO_OWNER":          "PRJ",
		"CI_REPO_NAME":           "app",
		"CI_REPO_URL":            "https://bitbucket.example.com/projects/PRJ/repos/app",
		"CI_REPO_CLONE_URL":      "https://bitbucket.example.com/scm/prj/app.git",
		"CI_FORGE_TYPE":          "bitbucket_dc",
		"CI_FORGE_URL":           "https://bitbucket.example.com",
		"CI_PIPELINE_URL":        "https://woodpecker.example.com/repos/1/pipeline/17",
		"CI_PIPELINE_FORGE_URL":  "https://bitbucket.example.com/c",
		"CI_PIPELINE_NUMBER":     "17",
		"CI_WORKFLOW_NAME":       "build",
		"CI_STEP_NAME":           "image",
	}
}

func TestReadOnDrone(t *testing.T) {
	got := ci.Read(onDrone())
	origins := got.Origins
	got.Origins = nil
	want := ci.Run{
		CI:              ci.Drone,
		Event:           "push",
		Ref:             "refs/heads/main",
		Commit:          "4f1d0c8f6c0b4bd0a2e3a1f5f0c9b8a7d6e5c4b3",
		CommitLink:      "https://bitbucket.org/acme/app/commits/4f1d0c8",
		Message:         "Greet",
		Branch:          "main",
		SourceBranch:    "main",
		DefaultBranch:   "main",
		Repository:      "acme/app",
		RepositoryOwner: "acme",
		RepositoryName:  "app",
		RepositoryLink:  "https://bitbucket.org/acme/app",
		RemoteURL:       "https://bitbucket.org/acme/app.git",
		PipelineLink:    "https://drone.example.com/acme/app/17",
		PipelineNumber:  "17",
		Stage:           "default",
		Step:            "image",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("run of Drone (-want +got):\n%s", diff)
	}
	switch {
	case origins["Commit"] != "DRONE_COMMIT_SHA":
		t.Errorf("origin of the commit: got %q, want DRONE_COMMIT_SHA", origins["Commit"])
	case origins["DefaultBranch"] != "DRONE_REPO_BRANCH":
		t.Errorf("origin of the default branch: got %q, want DRONE_REPO_BRANCH", origins["DefaultBranch"])
	case len(origins) != 17:
		t.Errorf("origins: got %d, want 17: %v", len(origins), origins)
	}
}

func TestReadOnWoodpecker(t *testing.T) {
	got := ci.Read(onWoodpecker())
	origins := got.Origins
	got.Origins = nil
	want := ci.Run{
		CI:              ci.Woodpecker,
		Event:           "tag",
		Ref:             "refs/tags/v1.2.3",
		Commit:          "4f1d0c8f6c0b4bd0a2e3a1f5f0c9b8a7d6e5c4b3",
		CommitLink:      "https://bitbucket.example.com/c",
		Tag:             "v1.2.3",
		DefaultBranch:   "main",
		Repository:      "PRJ/app",
		RepositoryOwner: "PRJ",
		RepositoryName:  "app",
		RepositoryLink:  "https://bitbucket.example.com/projects/PRJ/repos/app",
		RemoteURL:       "https://bitbucket.example.com/scm/prj/app.git",
		Forge:           "bitbucket_dc",
		ForgeURL:        "https://bitbucket.example.com",
		PipelineLink:    "https://woodpecker.example.com/repos/1/pipeline/17",
		PipelineNumber:  "17",
		Stage:           "build",
		Step:            "image",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("run of Woodpecker (-want +got):\n%s", diff)
	}
	switch {
	case origins["Ref"] != "DRONE_COMMIT_REF":
		t.Errorf("origin of the ref: got %q, want DRONE_COMMIT_REF", origins["Ref"])
	case origins["Tag"] != "CI_COMMIT_TAG":
		t.Errorf("origin of the tag: got %q, want CI_COMMIT_TAG", origins["Tag"])
	case origins["Branch"] != "":
		t.Errorf("origin of the branch: got %q, want none", origins["Branch"])
	}
}

func TestATagOfAManualBuildIsRead(t *testing.T) {
	got := ci.Read(
		map[string]string{
			"DRONE_BUILD_EVENT": "custom",
			"DRONE_COMMIT_REF":  "refs/tags/v1.2.3",
			"DRONE_BRANCH":      "refs/tags/v1.2.3",
		},
	)
	switch {
	case got.Tag != "v1.2.3":
		t.Errorf("tag: got %q, want v1.2.3", got.Tag)
	case got.Origins["Tag"] != "DRONE_COMMIT_REF":
		t.Errorf("origin of the tag: got %q, want DRONE_COMMIT_REF", got.Origins["Tag"])
	case got.Branch != "":
		t.Errorf("branch: got %q, want none", got.Branch)
	case got.Kind() != ci.Tag:
		t.Errorf("kind: got %v, want %v", got.Kind(), ci.Tag)
	}
}

func TestKindAndName(t *testing.T) {
	for _, c := range []struct {
		event, ref string
		kind       ci.Kind
		name       string
	}{
		{"push", "refs/heads/main", ci.Branch, "main"},
		{"push", "refs/heads/feature/x", ci.Branch, "feature/x"},
		{"push", "feature/x", ci.Branch, "feature/x"}, // a new branch, Drone with Bitbucket Server
		{"manual", "refs/heads/main", ci.Branch, "main"},
		{"cron", "refs/heads/main", ci.Branch, "main"},
		{"tag", "refs/tags/v1", ci.Tag, "v1"},
		{"custom", "refs/tags/v1", ci.Tag, "v1"},
		{"pull_request", "refs/pull-requests/3/from", ci.PullRequest, "refs/pull-requests/3/from"},
		{"pull_request", "refs/heads/feature", ci.PullRequest, "refs/heads/feature"}, // Woodpecker with Bitbucket Cloud
		{"pull_request_closed", "refs/heads/main", ci.PullRequest, "refs/heads/main"},
		{"", "refs/pull/3/head", ci.PullRequest, "refs/pull/3/head"},
		{"", "refs/notes/x", ci.Unknown, "refs/notes/x"},
		{"", "", ci.Unknown, ""},
	} {
		r := ci.Run{Event: c.event, Ref: c.ref}
		if r.Kind() != c.kind || r.Name() != c.name {
			t.Errorf("%s of %q: got %s %q, want %s %q", c.event, c.ref, r.Kind(), r.Name(), c.kind, c.name)
		}
	}
}

func TestARemoteURLShowsNoCredential(t *testing.T) {
	for given, want := range map[string]string{
		"https://bitbucket.org/acme/app.git":            "https://bitbucket.org/acme/app.git",
		"https://x-token-auth:canary@bitbucket.org/a/b": "https://bitbucket.org/a/b",
		"https://canary@bitbucket.org/a/b":              "https://bitbucket.org/a/b",
		"ssh://git@bitbucket.org/a/b.git":               "ssh://git@bitbucket.org/a/b.git",
		"ssh://git:canary@bitbucket.org/a/b.git":        "ssh://git@bitbucket.org/a/b.git",
		"git@bitbucket.org:a/b.git":                     "git@bitbucket.org:a/b.git",
		"https://u:canary%@bitbucket.org/a/b":           "",
		"file:///var/lib/git/app.git":                   "file:///var/lib/git/app.git",
	} {
		if got := ci.Read(map[string]string{"DRONE_REMOTE_URL": given}).RemoteURL; got != want {
			t.Errorf("%s: got %q, want %q", given, got, want)
		}
	}
}

func TestReadWithoutACIReturnsNoValues(t *testing.T) {
	got := ci.Read(map[string]string{"PATH": "/bin", "CI": "true"})
	if diff := cmp.Diff(ci.Run{Origins: map[string]string{}}, got); diff != "" {
		t.Errorf("run without variables (-want +got):\n%s", diff)
	}
}
