package enginetest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"slipway/config/identity"
	"slipway/config/loopback"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
	"slipway/runner/buildkit"
)

// A CI is the CI server of an environment's gateway, with the controls that the suite needs. Its fields
// are valid after the environment has started.
type CI struct {
	Proxy   *FaultProxy // proxy between the gateway and the server
	Program string      // link to the program that steps run
	// Builder is the address of the builder for steps. It uses TCP, as a builder on another machine
	// does. BuilderTLS is the file of the client certificate.
	Builder, BuilderTLS string
	// Hold stops the CI's agents from starting pipelines until Release.
	Hold, Release func()
	// RestartAgents restarts the CI's agents with SIGTERM. Drains means that they first finish their
	// pipelines.
	RestartAgents func(ctx context.Context) error
	Drains        bool
	// SetTimeout sets the timeout of a repository on the CI, in minutes.
	SetTimeout func(ctx context.Context, fullName string, minutes int64) error
	// CancelAsPerson cancels a pipeline, as a person does on the CI's pages.
	CancelAsPerson func(ctx context.Context, fullName string, number int64) error
	// Engine is the name of the engine. Inspected are further texts that the page of the engines shows
	// for a builder repository.
	Engine    string
	Inspected []string
	// Own describes pipelines of repositories on this CI. It is nil for fakes, which run none.
	Own *OwnPipeline
}

// Link creates a link in dir to the running test program and returns its path. Steps run the link:
// the test program then acts as slipway (demotest.Main).
func Link(dir string) (string, error) {
	program, err := os.Executable()
	if err != nil {
		return "", err
	}
	link := filepath.Join(dir, "slipway")
	return link, os.Symlink(program, link)
}

// Prepare creates the prerequisites of all CIs: a builder, the link and the repository
// acme/builder, which it returns.
func (c *CI) Prepare(ctx context.Context, w *localenv.Env) (r *bitbuckettest.Repository, err error) {
	c.Program, err = Link(w.Dir)
	if err != nil {
		return nil, err
	}
	if err := c.startBuilder(ctx, w); err != nil {
		return nil, fmt.Errorf("start a builder: %w", err)
	}
	return builderRepository(ctx, w)
}

// Connect creates the proxy from an environment's gateway to the server at an origin. It returns the
// origin that the gateway must use.
func (c *CI) Connect(ctx context.Context, w *localenv.Env, server string) (origin string, err error) {
	c.Proxy, err = NewFaultProxy(server)
	if err != nil {
		return "", err
	}
	address, err := w.Serve(ctx, c.Proxy)
	return "http://" + address, err
}

// builderRepository creates the private repository acme/builder with one commit.
func builderRepository(ctx context.Context, w *localenv.Env) (*bitbuckettest.Repository, error) {
	r, err := w.Bitbucket.AddRepository(w.App.Workspace, "builder", bitbuckettest.Private)
	if err != nil {
		return nil, err
	}
	_, err = r.Commit(ctx, "main", map[string]string{"README.md": "Runs builds.\n"}, "Start")
	return r, err
}

// ExtensionSecrets returns the keys that an environment's gateway created for a CI's requests, by purpose.
func ExtensionSecrets(
	ctx context.Context,
	w *localenv.Env,
	engine string,
	purposes ...string,
) (map[string]secret.Secret, error) {
	s, err := w.Gateway.Store(ctx)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	all := map[string]secret.Secret{}
	for _, purpose := range purposes {
		if all[purpose], err = s.KnownExtensionSecret(ctx, engine, purpose); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// startBuilder starts `slipway builder` for the steps of a CI, as an administrator does.
func (c *CI) startBuilder(ctx context.Context, w *localenv.Env) error {
	keys := filepath.Join(w.Dir, "builder-keys")
	out, err := exec.CommandContext(ctx, c.Program, "builder", "keys", keys, "--host", "127.0.0.1").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	address, err := loopback.FreeAddress(ctx)
	if err != nil {
		return err
	}
	c.Builder, c.BuilderTLS = "tcp://"+address, filepath.Join(keys, "client.pem")
	args := []string{
		"builder", "--address", c.Builder, "--tls", filepath.Join(keys, "server.pem"), "--state",
		filepath.Join(w.Dir, "builder-state"), "--network", "none", "--local-registry", w.Registry,
	}
	if _, err := StartProcess(w, "builder", c.Program, args, nil); err != nil {
		return err
	}
	id, err := identity.Read(secret.New(c.BuilderTLS))
	if err != nil {
		return err
	}
	return localenv.Wait(ctx, func() (bool, error) {
		client, err := buildkit.Dial(ctx, c.Builder, id)
		if err != nil {
			return false, nil //nolint:nilerr // it is not up yet
		}
		return true, client.Close()
	})
}

// Settings returns the gateway's settings for the steps. prefix is that of the CI, e.g.
// SLIPWAY_DRONE_.
func (c *CI) Settings(prefix string) []string {
	return []string{
		prefix + "IMAGE=" + c.Program,
		prefix + "BUILDER=" + c.Builder,
		prefix + "BUILDER_TLS=" + c.BuilderTLS,
	}
}

// KillRunner kills the runner of a build with SIGKILL. It finds the process by its environment.
func KillRunner(ctx context.Context, a autobuild.Attempt) error {
	name := "/runner/v1/builds/" + a.BuildID
	err := localenv.Wait(ctx, func() (bool, error) {
		all, err := localenv.Processes()
		if err != nil {
			return false, err
		}
		killed := false
		for _, p := range all {
			environ, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(p.ID), "environ"))
			if err != nil || !strings.Contains(string(environ), name) || p.ID == os.Getpid() {
				continue // it has ended, or is another process
			}
			killed = syscall.Kill(p.ID, syscall.SIGKILL) == nil || killed
		}
		return killed, nil
	})
	if err != nil {
		return fmt.Errorf("kill the runner of build %s: %w", a.BuildID, err)
	}
	return nil
}

// responseLost, F14: the CI creates the pipeline, but its response does not reach the gateway.
func (c *CI) responseLost(env *demotest.Env) {
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	commit := p.Commit("Lost", env.Dockerfile("lost"))
	c.Proxy.LoseResponse()
	p.Push("main")
	b := p.WaitEnd(1, autobuild.Succeeded)
	if b.Attempt != 1 {
		env.T.Errorf("attempts: got %d, want 1, because the CI received the first", b.Attempt)
	}
	p.CheckImage("latest", b, "lost")
	p.CheckOneEnd(commit)
}

// unreachable, F13: builds wait while the CI is unreachable, show the reason, and start when it is back.
func (c *CI) unreachable(env *demotest.Env) {
	p := env.Automate(env.Dockerfile("x"), eachBranch())
	c.Proxy.Cut()
	p.Commit("One", env.Dockerfile("one"))
	p.Push("HEAD:refs/heads/b-one")
	p.Commit("Two", env.Dockerfile("two"))
	p.Push("HEAD:refs/heads/b-two")
	env.WaitUntil("both builds wait and show the reason", func() (bool, error) {
		builds, err := p.Builds(env.Context)
		waiting := 0
		for _, b := range builds {
			if b.State == autobuild.Queued && strings.Contains(b.Detail, "is not available") {
				waiting++
			}
		}
		return waiting == 2, err
	})
	c.Proxy.Restore()
	for _, b := range p.WaitAll(2) {
		if b.State != autobuild.Succeeded {
			env.T.Errorf("build: got %s, want success", env.DescribeBuild(b))
			continue
		}
		p.CheckImage(b.Ref.Name, b, strings.TrimPrefix(b.Ref.Name, "b-"))
		_, err := env.WaitStatus(env.Context, b)
		env.Must(err)
		p.CheckOneEnd(b.Commit.Hash)
	}
}

// endsBeforeRunner: if a pipeline ends before the runner starts, the build loses an attempt. The
// pipeline's output is in the build's log.
func (c *CI) endsBeforeRunner(env *demotest.Env) {
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	commit := p.Commit("Away", env.Dockerfile("away"))
	c.withoutProgram(env, func() {
		p.Push("main")
		env.WaitUntil("the first attempt has failed", func() (bool, error) {
			b, err := p.Builds(env.Context)
			return len(b) == 1 &&
				(b[0].Attempt > 1 || b[0].State == autobuild.Queued && b[0].Attempt == 1 || b[0].State.Final()), err
		})
	})
	b := p.WaitEnd(1, autobuild.Succeeded)
	log, err := env.Browser.Log(env.Context, b, 1, 0)
	env.Must(err)
	if b.Attempt < 2 {
		env.T.Errorf("got attempt %d, want at least 2", b.Attempt)
	}
	for _, text := range []string{"ended before its runner started", "slipway"} {
		if !strings.Contains(log, text) {
			env.T.Errorf("log of attempt 1: got no %q, want it:\n%s", text, log)
		}
	}
	p.CheckOneEnd(commit)
}

// withoutProgram calls do while the program of the steps is missing.
func (c *CI) withoutProgram(env *demotest.Env, do func()) {
	env.Must(os.Rename(c.Program, c.Program+".away"))
	do()
	env.Must(os.Rename(c.Program+".away", c.Program))
}

// cancelUnstarted: a pipeline that the CI has not started is canceled on the CI as well.
func (c *CI) cancelUnstarted(env *demotest.Env) {
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	p.Commit("Unwanted", env.Dockerfile("unwanted"))
	c.Hold()
	p.Push("main")
	b := p.WaitNewest(1, autobuild.Starting)
	env.WaitUntil("the CI has it", func() (bool, error) {
		store, err := env.Gateway.Store(env.Context)
		if err != nil {
			return false, err
		}
		defer store.Close()
		a, err := store.Attempt(env.Context, b.ID, b.Attempt)
		return strings.Contains(a.EngineRef, "#"), err
	})
	p.Cancel(b)
	c.Release()
	p.Commit("Wanted", env.Dockerfile("wanted"))
	p.Push("main")
	p.CheckImage("latest", p.WaitEnd(2, autobuild.Succeeded), "wanted")
}

// endNotReported: the runner is killed, and the CI reports its pipeline as running. The build's
// timeout ends it.
func (c *CI) endNotReported(env *demotest.Env) {
	p, b := occupy(env)
	c.Proxy.Freeze()
	env.Must(KillRunner(env.Context, autobuild.Attempt{BuildID: b.ID, Number: b.Attempt}))
	b = p.WaitEnd(1, autobuild.Failed)
	c.Proxy.Thaw()
	if b.Reason != autobuild.ReasonTimeout || b.Attempt != 1 {
		env.T.Errorf("got build %+v, want that attempt 1 failed with a timeout", b)
	}
	p.CheckOneEnd(b.Commit.Hash)
}

// gatewayRestarted: a pipeline continues while the gateway restarts. Its log, state and status
// reach the gateway afterwards.
func gatewayRestarted(env *demotest.Env) {
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	commit := p.Commit("Away", env.Dockerfile("restart", "RUN echo before-$((6*7)); sleep 6; echo after-$((6*8))"))
	p.Push("main")
	b := p.WaitNewest(1, autobuild.Running)
	_, err := env.Browser.WaitLog(
		env.Context,
		b,
		1,
		func(log string) bool { return strings.Contains(log, "before-42") },
	)
	env.Must(err)
	env.Gateway.Stop()
	env.Must(env.Gateway.Start(env.Context))
	b = p.WaitEnd(1, autobuild.Succeeded)
	log, err := env.Browser.Log(env.Context, b, 1, 0)
	env.Must(err)
	if b.Attempt != 1 {
		env.T.Errorf("got attempt %d, want 1", b.Attempt)
	}
	for _, text := range []string{"before-42", "after-48"} {
		if !strings.Contains(log, text) {
			env.T.Errorf("log: got no %q, want it:\n%s", text, log)
		}
	}
	p.CheckImage("latest", b, "restart")
	p.CheckOneEnd(commit)
}
