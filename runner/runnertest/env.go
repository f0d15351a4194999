// Package runnertest provides an environment for tests of the runner, in one process. It has a gateway
// with the runner protocol, a git repository, a registry, and a builder without BuildKit.
package runnertest

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"slipway/config/secret"
	"slipway/runner/source/sourcetest"
	"slipway/runner/spec"
)

// Main is the full name of the branch that Push commits to.
const Main = "refs/heads/main"

// An Env is a gateway with one repository and one image, and a builder.
type Env struct {
	Git      *sourcetest.Remote
	Registry *Registry
	Gateway  *Gateway
	Builder  *Builder
	Edit     func(*spec.Spec) // changes the spec of each attempt
	Head     string           // commit of the newest push

	t testing.TB
}

// New starts an environment that ends with the test.
func New(t testing.TB) *Env {
	t.Helper()
	e := &Env{
		Git: sourcetest.New(t), Registry: NewRegistry(t), Builder: NewBuilder(t), Edit: func(*spec.Spec) {}, t: t,
	}
	e.Gateway = newGateway(t, e.Git, e.specOf)
	return e
}

// Tags returns the tags of every build.
func Tags() []string { return []string{"1.2", "1", "latest"} }

// specOf returns the spec of an attempt.
func (e *Env) specOf(b Build, attempt int) spec.Spec {
	s := spec.Spec{
		BuildID:    b.ID,
		Number:     b.Number,
		Attempt:    attempt,
		Repository: "acme/app",
		Source: spec.Source{
			URL:     e.Git.URL + "/app/.git",
			Ref:     b.Ref,
			RefName: "main",
			Commit:  b.Commit,
			Message: "Change something",
		},
		Image:       e.Registry.Image(),
		Tags:        Tags(),
		Dockerfile:  "svc/Dockerfile",
		Context:     ".",
		Caching:     true,
		Publish:     true,
		Timeout:     time.Minute,
		Environment: map[string]secret.Secret{"NPM_TOKEN": secret.New("npm-canary")},
	}
	e.Edit(&s)
	return s
}

// Push commits files and returns the build of that push.
func (e *Env) Push(files map[string]string) Build {
	e.t.Helper()
	e.Head = e.Git.Commit(e.t, files)
	return e.Gateway.add(Main, e.Head)
}

// Log returns the log of the build's newest attempt.
func (e *Env) Log(b Build) string { return e.Gateway.Last(b).Log }

// Dockerfile returns the files of a repository whose Dockerfile, svc/Dockerfile, has a text.
func Dockerfile(text string) map[string]string {
	return map[string]string{"svc/Dockerfile": text, "greeting": "hello"}
}

// Hook returns the path of a build hook of svc/Dockerfile.
func Hook(name string) string { return filepath.Join("svc/hooks", name) }

// Workspace returns a directory with files, as a checked-out repository.
func Workspace(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for path, text := range files {
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil { //nolint:gosec // other users build it
			t.Fatal(err)
		}
	}
	return dir
}

// Pipeline returns Drone's variables for a run on a commit.
func Pipeline(remote, ref, commit string) []string {
	return []string{
		"DRONE=true",
		"DRONE_REPO_BRANCH=main",
		"DRONE_BUILD_EVENT=push",
		"DRONE_REMOTE_URL=" + remote,
		"DRONE_COMMIT_REF=" + ref,
		"DRONE_COMMIT_SHA=" + commit,
		"DRONE_BUILD_LINK=https://drone.example.com/acme/app/7",
		"DRONE_REPO=acme/app",
	}
}

// OnRef returns the variables of Drone and Woodpecker for a ref. The repository's default branch is main.
func OnRef(ref string) []string {
	return []string{
		"DRONE_COMMIT_REF=" + ref,
		"CI_COMMIT_REF=" + ref,
		"DRONE_REPO_BRANCH=main",
		"CI_REPO_DEFAULT_BRANCH=main",
	}
}
