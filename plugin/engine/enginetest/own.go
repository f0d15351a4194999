package enginetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
)

// OwnPipeline describes the pipelines in repositories for one CI.
type OwnPipeline struct {
	File string                                                  // path of the pipeline file in a repository
	Text func(line string) string                                // returns a pipeline that clones and runs a shell line
	Step func(program string, settings map[string]string) string // returns a pipeline that clones and runs a plugin
	// Activate makes the CI react to a repository's pushes, as a user does on its pages.
	Activate func(ctx context.Context, fullName string) error
}

// ownPipeline: a repository's own pipeline runs once with each push, unchanged, besides our build.
func (c *CI) ownPipeline(h *demotest.Env) {
	said := filepath.Join(h.Dir, "own-pipeline")
	files := func(greeting string) map[string]string {
		all := h.Dockerfile(greeting)
		all[c.Own.File] = c.Own.Text("cat greeting.txt >> " + said)
		return all
	}
	p := h.Automate(files("x"), demotest.MainToLatest())
	h.Must(c.Own.Activate(h.Context, p.Repository.FullName()))
	want := ""
	for i, greeting := range []string{"first, ", "second, "} {
		commit := p.Commit(greeting, files(greeting))
		p.Push("main")
		p.Holds("latest", p.End(i+1, autobuild.Succeeded), greeting)
		p.OneEnd(commit)
		want += greeting
		h.Until("its own pipeline has run", func() (bool, error) {
			got, err := os.ReadFile(said)
			if errors.Is(err, os.ErrNotExist) {
				return false, nil
			}
			return len(got) >= len(want), err
		})
		if got, err := os.ReadFile(said); err != nil || string(got) != want {
			h.T.Errorf("its own pipelines said %q, %v, want %q", got, err, want)
		}
	}
}

// ownStep: the runner is a step of the repository's own pipeline and uses the automated build's
// token. The gateway decides the content, tags and status of the build.
func (c *CI) ownStep(h *demotest.Env) {
	p := h.Automate(h.Dockerfile("x"), eachBranch(), demotest.Versions())
	id, token := h.Joining()
	line := fmt.Sprintf(
		"PLUGIN_GATEWAY=%s PLUGIN_AUTOMATED_BUILD=%s PLUGIN_TOKEN=%s PLUGIN_BUILDER=%s PLUGIN_BUILDER_TLS=%s "+
			"%s %s runner",
		h.Gateway.URL, id, token, c.Builder, c.BuilderTLS, loginOf(h), c.Program,
	)
	h.Must(c.Own.Activate(h.Context, p.Repository.FullName()))
	commits := map[string]string{}
	for _, name := range []string{"b-own", "v3.4"} {
		files := h.Dockerfile(name)
		files[c.Own.File] = c.Own.Text(line)
		commits[name] = p.Commit(name, files)
		p.Git("tag", "of-"+name)
	}
	p.Push("of-b-own^{commit}:refs/heads/b-own") // a CI runs only one ref of a push
	p.Push("of-v3.4^{commit}:refs/tags/v3.4")
	for _, b := range p.All(2) {
		if b.State != autobuild.Succeeded || b.Commit.Hash != commits[b.Ref.Name] || b.Attempt != 1 {
			h.T.Errorf("want success at %s, but of %s %s", commits[b.Ref.Name], b.Commit.Hash, h.BuildOf(b))
			continue
		}
		p.Holds(strings.TrimPrefix(b.Ref.Name, "v"), b, b.Ref.Name)
		_, err := h.WaitStatus(h.Context, b)
		h.Must(err)
		p.OneEnd(b.Commit.Hash)
	}
}

// loginOf returns the registry login as settings of a step. The gateway does not provide it to
// steps of own pipelines.
func loginOf(h *demotest.Env) string {
	if h.RegistryPassword().IsZero() {
		return "PLUGIN_INSECURE=true"
	}
	return fmt.Sprintf(
		"PLUGIN_INSECURE=true PLUGIN_USERNAME=%s PLUGIN_PASSWORD=%s", localenv.RegistryUser,
		h.RegistryPassword().Reveal(),
	)
}

// stepAlone: the runner is a plugin in a pipeline of a repository without a gateway. A branch
// becomes the image's latest tag, a version its tags, and each commit gets its status.
func (c *CI) stepAlone(h *demotest.Env) {
	p := h.Repository(h.Dockerfile("x"))
	consumer, err := h.Bitbucket.AddConsumer(h.App.Workspace, "http://127.0.0.1/", "repository")
	h.Must(err)
	token, _ := h.Bitbucket.Link(h.Alice, consumer)
	settings := map[string]string{
		"repo": p.Image, "auto_tag": "true", "insecure": "true", "username": localenv.RegistryUser,
		"password": h.RegistryPassword().Reveal(),
		"builder":  c.Builder, "builder_tls": c.BuilderTLS, "bitbucket_url": h.Bitbucket.URL(),
		"bitbucket_token": token.Reveal(),
	}
	if h.RegistryPassword().IsZero() {
		delete(settings, "username")
		delete(settings, "password")
	}
	h.Must(c.Own.Activate(h.Context, p.Repository.FullName()))
	for _, push := range []struct{ ref, greeting, tags string }{
		{"refs/heads/main", "branch", "latest"},
		{"refs/tags/v1.2.3", "version", "1 1.2 1.2.3"},
	} {
		files := h.Dockerfile(push.greeting)
		files[c.Own.File] = c.Own.Step(c.Program, settings)
		commit := p.Commit(push.greeting, files)
		p.Git("tag", "of-"+push.greeting)
		p.Push("of-" + push.greeting + "^{commit}:" + push.ref)
		h.Until("the commit of "+push.ref+" has its end", func() (bool, error) {
			all := p.Statuses(commit)
			return len(all) == 1 && all[0].State != "INPROGRESS", nil
		})
		p.OneEnd(commit)
		p.OneSuccess(commit)
		for tag := range strings.FieldsSeq(push.tags) {
			img, _, err := h.Pull(h.Context, p.Image+":"+tag)
			h.Must(err)
			if got, err := localenv.ReadFile(img, "greeting.txt"); err != nil || got != push.greeting {
				h.T.Errorf("%s holds %q, %v, want %q", tag, got, err, push.greeting)
			}
		}
	}
}
