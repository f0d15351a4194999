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
func (c *CI) ownPipeline(env *demotest.Env) {
	outputFile := filepath.Join(env.Dir, "own-pipeline")
	files := func(greeting string) map[string]string {
		all := env.Dockerfile(greeting)
		all[c.Own.File] = c.Own.Text("cat greeting.txt >> " + outputFile)
		return all
	}
	p := env.Automate(files("x"), demotest.MainRule())
	env.Must(c.Own.Activate(env.Context, p.Repository.FullName()))
	want := ""
	for i, greeting := range []string{"first, ", "second, "} {
		commit := p.Commit(greeting, files(greeting))
		p.Push("main")
		p.CheckImage("latest", p.WaitEnd(i+1, autobuild.Succeeded), greeting)
		p.CheckOneEnd(commit)
		want += greeting
		env.WaitUntil("its own pipeline has run", func() (bool, error) {
			got, err := os.ReadFile(outputFile)
			if errors.Is(err, os.ErrNotExist) {
				return false, nil
			}
			return len(got) >= len(want), err
		})
		if got, err := os.ReadFile(outputFile); err != nil || string(got) != want {
			env.T.Errorf("its own pipelines: got %q, error %v, want %q", got, err, want)
		}
	}
}

// ownStep: the runner is a step of the repository's own pipeline and uses the automated build's
// token. The gateway decides the content, tags and status of the build.
func (c *CI) ownStep(env *demotest.Env) {
	p := env.Automate(env.Dockerfile("x"), eachBranch(), demotest.VersionRule())
	id, token := env.UseOwnPipeline()
	line := fmt.Sprintf(
		"PLUGIN_GATEWAY=%s PLUGIN_AUTOMATED_BUILD=%s PLUGIN_TOKEN=%s PLUGIN_BUILDER=%s PLUGIN_BUILDER_TLS=%s "+
			"%s %s runner",
		env.Gateway.URL, id, token, c.Builder, c.BuilderTLS, loginOf(env), c.Program,
	)
	env.Must(c.Own.Activate(env.Context, p.Repository.FullName()))
	commits := map[string]string{}
	for _, name := range []string{"b-own", "v3.4"} {
		files := env.Dockerfile(name)
		files[c.Own.File] = c.Own.Text(line)
		commits[name] = p.Commit(name, files)
		p.Git("tag", "of-"+name)
	}
	p.Push("of-b-own^{commit}:refs/heads/b-own") // a CI runs only one ref of a push
	p.Push("of-v3.4^{commit}:refs/tags/v3.4")
	for _, b := range p.WaitAll(2) {
		if b.State != autobuild.Succeeded {
			env.T.Errorf("got state %s, want succeeded: %s", b.State, env.DescribeBuild(b))
			continue
		}
		if want := commits[b.Ref.Name]; b.Commit.Hash != want {
			env.T.Errorf("%s: got commit %s, want %s", b.Ref.Name, b.Commit.Hash, want)
			continue
		}
		if b.Attempt != 1 {
			env.T.Errorf("%s: got attempt %d, want 1", b.Ref.Name, b.Attempt)
		}
		p.CheckImage(strings.TrimPrefix(b.Ref.Name, "v"), b, b.Ref.Name)
		_, err := env.WaitStatus(env.Context, b)
		env.Must(err)
		p.CheckOneEnd(b.Commit.Hash)
	}
}

// loginOf returns the registry login as settings of a step. The gateway does not provide it to
// steps of own pipelines.
func loginOf(env *demotest.Env) string {
	if env.RegistryPassword().IsZero() {
		return "PLUGIN_INSECURE=true"
	}
	return fmt.Sprintf(
		"PLUGIN_INSECURE=true PLUGIN_USERNAME=%s PLUGIN_PASSWORD=%s", localenv.RegistryUser,
		env.RegistryPassword().Reveal(),
	)
}

// stepAlone: the runner is a plugin in a pipeline of a repository without a gateway. A branch
// becomes the image's latest tag, a version its tags, and each commit gets its status.
func (c *CI) stepAlone(env *demotest.Env) {
	p := env.Repository(env.Dockerfile("x"))
	consumer, err := env.Bitbucket.AddConsumer(env.App.Workspace, "http://127.0.0.1/", "repository")
	env.Must(err)
	token, _ := env.Bitbucket.Link(env.Alice, consumer)
	settings := map[string]string{
		"repo": p.Image, "auto_tag": "true", "insecure": "true", "username": localenv.RegistryUser,
		"password": env.RegistryPassword().Reveal(),
		"builder":  c.Builder, "builder_tls": c.BuilderTLS, "bitbucket_url": env.Bitbucket.URL(),
		"bitbucket_token": token.Reveal(),
	}
	if env.RegistryPassword().IsZero() {
		delete(settings, "username")
		delete(settings, "password")
	}
	env.Must(c.Own.Activate(env.Context, p.Repository.FullName()))
	for _, push := range []struct{ ref, greeting, tags string }{
		{"refs/heads/main", "branch", "latest"},
		{"refs/tags/v1.2.3", "version", "1 1.2 1.2.3"},
	} {
		files := env.Dockerfile(push.greeting)
		files[c.Own.File] = c.Own.Step(c.Program, settings)
		commit := p.Commit(push.greeting, files)
		p.Git("tag", "of-"+push.greeting)
		p.Push("of-" + push.greeting + "^{commit}:" + push.ref)
		env.WaitUntil("the commit of "+push.ref+" has its end", func() (bool, error) {
			all := p.Statuses(commit)
			return len(all) == 1 && all[0].State != "INPROGRESS", nil
		})
		p.CheckOneEnd(commit)
		p.CheckOneSuccess(commit)
		for tag := range strings.FieldsSeq(push.tags) {
			img, _, err := env.Pull(env.Context, p.Image+":"+tag)
			env.Must(err)
			if got, err := localenv.ReadFile(img, "greeting.txt"); err != nil || got != push.greeting {
				env.T.Errorf("tag %s: got %q, error %v, want %q", tag, got, err, push.greeting)
			}
		}
	}
}
