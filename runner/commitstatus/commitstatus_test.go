package commitstatus_test

import (
	"strings"
	"testing"

	"slipway/runner/ci"
	"slipway/runner/commitstatus"
)

func TestFind(t *testing.T) {
	cloud := commitstatus.Place{API: "https://api.bitbucket.org", Owner: "acme", Slug: "app"}
	server := func(api, owner string) commitstatus.Place {
		return commitstatus.Place{API: api, DataCenter: true, Owner: owner, Slug: "app"}
	}
	for _, c := range []struct {
		remote, forge, forgeURL, owner, set string
		want                                commitstatus.Place
		why                                 string
	}{
		{remote: "https://bitbucket.org/acme/app.git", want: cloud},
		{remote: "https://BitBucket.org/acme/app", want: cloud},
		{remote: "git@bitbucket.org:acme/app.git", want: cloud},
		{remote: "ssh://git@bitbucket.org/acme/app.git", want: cloud},
		{remote: "https://bitbucket.org/acme/app.git", set: "https://bitbucket.org", want: cloud},
		{remote: "https://bitbucket.org/acme/app.git", set: "https://proxy.example.com/", want: commitstatus.Place{API: "https://proxy.example.com", Owner: "acme", Slug: "app"}},
		{remote: "http://127.0.0.1/acme/app.git", forge: "bitbucket", want: cloud},
		{remote: "https://git.example.com/scm/prj/app.git", want: server("https://git.example.com", "prj")},
		{remote: "https://git.example.com:8443/bitbucket/scm/~ann/app.git", owner: "~ann", want: server("https://git.example.com:8443/bitbucket", "~ann")},
		{remote: "https://git.example.com/scm/prj/app.git", owner: "PRJ", want: server("https://git.example.com", "PRJ")},
		{remote: "https://git.example.com/scm/prj/app.git", set: "http://inside:7990", want: server("http://inside:7990", "prj")},
		{remote: "https://git.example.com/scm/scm/app.git", want: server("https://git.example.com", "scm")},
		{remote: "ssh://git@git.example.com:7999/prj/app.git", set: "https://git.example.com", want: server("https://git.example.com", "prj")},
		{remote: "ssh://git@git.example.com:7999/prj/app.git", forge: "bitbucket_dc", forgeURL: "https://git.example.com/", want: server("https://git.example.com", "prj")},

		{remote: "http://git.example.com/scm/prj/app.git", why: "not https: set PLUGIN_BITBUCKET_URL"},
		{remote: "ssh://git@git.example.com:7999/prj/app.git", forge: "bitbucket_dc", forgeURL: "http://git.example.com", why: "set PLUGIN_BITBUCKET_URL"},
		{remote: "ssh://git@git.example.com:7999/prj/app.git", why: "git.example.com, which is not a known Bitbucket"},
		{remote: "https://github.com/acme/app.git", why: "github.com, which is not a known Bitbucket"},
		{remote: "https://bitbucket.org.evil.example/acme/app.git", why: "not a known Bitbucket"},
		{remote: "https://bitbucket.org/acme", why: "does not have the form"},
		{remote: "https://bitbucket.org/acme/app/more.git", why: "does not have the form"},
		{remote: "file:///srv/app.git", why: "has no host"},
		{why: "DRONE_REMOTE_URL"},
	} {
		got, err := commitstatus.Find(
			ci.Run{RemoteURL: c.remote, Forge: c.forge, ForgeURL: c.forgeURL, RepositoryOwner: c.owner},
			c.set,
		)
		if c.why != "" {
			if err == nil || !strings.Contains(err.Error(), c.why) {
				t.Errorf("%s: got %+v, error %v, want error %q", c.remote, got, err, c.why)
			}
		} else if err != nil || got != c.want {
			t.Errorf("%s: got %+v, error %v, want %+v", c.remote, got, err, c.want)
		}
	}
}

func onMain() ci.Run {
	return ci.Run{
		Event:        "push",
		Ref:          "refs/heads/main",
		Repository:   "acme/app",
		Commit:       strings.Repeat("a1", 20),
		PipelineLink: "https://ci.example.com/{repository.full_name}/7",
		Origins:      map[string]string{"PipelineLink": "DRONE_BUILD_LINK"},
	}
}

func TestDescribe(t *testing.T) {
	subject := commitstatus.Subject{Image: "registry.example.com/acme/app", Dockerfile: "Dockerfile", Context: "."}
	got, err := commitstatus.Describe(onMain(), subject, "")
	switch {
	case err != nil:
		t.Errorf("a branch: got error %v, want nil", err)
	case got.Branch != "main":
		t.Errorf("branch: got %q, want main", got.Branch)
	case got.IsTag:
		t.Error("a branch: got a tag's status, want a branch's")
	case got.Name != subject.Image:
		t.Errorf("name: got %q, want %q", got.Name, subject.Image)
	case got.Parent != subject.Image:
		t.Errorf("parent: got %q, want %q", got.Parent, subject.Image)
	case strings.Contains(got.URL, "{"):
		t.Errorf("URL: got %q, want no { in it", got.URL)
	}
	if len(got.Key) != 40 || !strings.HasPrefix(got.Key, "slipway-") {
		t.Errorf("key: got %q, want slipway- and 32 characters", got.Key)
	}
	if got, _ := commitstatus.Describe(onMain(), subject, "image"); got.Key != "image" || got.Parent != "image" {
		t.Errorf("a key that was set: got key %q and parent %q, want image for both", got.Key, got.Parent)
	}
	tag := onMain()
	tag.Event, tag.Ref = "tag", "refs/tags/v1"
	switch got, err := commitstatus.Describe(tag, subject, ""); {
	case err != nil:
		t.Errorf("a tag: got error %v, want nil", err)
	case got.Branch != "":
		t.Errorf("a tag: branch: got %q, want none", got.Branch)
	case !got.IsTag:
		t.Error("a tag: got a branch's status, want a tag's")
	}
	pull := onMain()
	pull.Event, pull.Ref, pull.SourceBranch = "pull_request", "refs/pull-requests/3/from", "feature/x"
	if got, err := commitstatus.Describe(pull, subject, ""); err != nil || got.Branch != "feature/x" {
		t.Errorf("a pull request: got %+v, error %v, want branch feature/x", got, err)
	}
}

func TestDescribeNamesTheMissingVariable(t *testing.T) {
	for want, edit := range map[string]func(*ci.Run){
		"DRONE_COMMIT_SHA":                func(r *ci.Run) { r.Commit = "" },
		"CI_COMMIT_SHA":                   func(r *ci.Run) { r.Commit = r.Commit[:12] },
		"CI_PIPELINE_URL":                 func(r *ci.Run) { r.PipelineLink = "" },
		"(DRONE_BUILD_LINK): link \"/7\"": func(r *ci.Run) { r.PipelineLink = "/7" },
		"longer than the 450":             func(r *ci.Run) { r.PipelineLink += strings.Repeat("x", 450) },
	} {
		run := onMain()
		edit(&run)
		if _, err := commitstatus.Describe(
			run,
			commitstatus.Subject{},
			"",
		); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("Describe: got error %v, want %q in it", err, want)
		}
	}
}

// Two steps on one commit have different keys. A second run of the same step has the same key.
func TestKeyDiffersBetweenSteps(t *testing.T) {
	base := commitstatus.Subject{Image: "acme/app", Dockerfile: "Dockerfile", Context: "."}
	seen := map[string]string{commitstatus.Key(onMain(), base): "base"}
	add := func(name, key string) {
		if other := seen[key]; other != "" {
			t.Errorf("key of %s: got the key of %s, want another", name, other)
		}
		seen[key] = name
	}
	for name, edit := range map[string]func(*commitstatus.Subject){
		"image":      func(s *commitstatus.Subject) { s.Image = "acme/web" },
		"Dockerfile": func(s *commitstatus.Subject) { s.Dockerfile = "web/Dockerfile" },
		"context":    func(s *commitstatus.Subject) { s.Context = "web" },
		"target":     func(s *commitstatus.Subject) { s.Target = "release" },
	} {
		other := base
		edit(&other)
		add(name, commitstatus.Key(onMain(), other))
	}
	for name, edit := range map[string]func(*ci.Run){
		"branch":       func(r *ci.Run) { r.Ref = "refs/heads/next" },
		"tag":          func(r *ci.Run) { r.Ref = "refs/tags/main" },
		"pull request": func(r *ci.Run) { r.Event = "pull_request" },
		"repository":   func(r *ci.Run) { r.Repository = "acme/web" },
	} {
		other := onMain()
		edit(&other)
		add(name, commitstatus.Key(other, base))
	}
	again := onMain()
	again.PipelineNumber, again.PipelineLink = "8", "https://ci.example.com/8"
	if seen[commitstatus.Key(again, base)] != "base" {
		t.Error("key of a repeated pipeline: got another key, want the first one")
	}
}

func TestBuiltKeepsTheDigest(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0f", 32)
	for _, tags := range [][]string{nil, {"1.2", "latest"}, {strings.Repeat("a", 128), strings.Repeat("b", 128)}} {
		got := commitstatus.Built("Pushed", tags, digest)
		switch n := len(
			[]rune(got),
		); {
		case n > 255:
			t.Errorf("description: got %d characters, want 255 at most: %s", n, got)
		case !strings.HasSuffix(got, " at "+digest):
			t.Errorf("description: got %s, want it to end with %q", got, " at "+digest)
		case (len(tags) > 0 && !strings.Contains(got, tags[0])):
			t.Errorf("description: got %s, want tag %s in it", got, tags[0])
		}
	}
}
