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
	address, err := FreePort(ctx)
	if err != nil {
		return err
	}
	c.Builder, c.BuilderTLS = "tcp://"+address, filepath.Join(keys, "client.pem")
	args := []string{
		"builder", "--address", c.Builder, "--tls", filepath.Join(keys, "server.pem"), "--state",
		filepath.Join(w.Dir, "builder-state"), "--network", "none",
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

// responseLost: the CI creates the pipeline, but its response does not reach the gateway.
func (c *CI) responseLost(h *demotest.Env) {
	p := h.Automate(h.Dockerfile("x"), demotest.MainToLatest())
	commit := p.Commit("Lost", h.Dockerfile("lost"))
	c.Proxy.LoseAnswer()
	p.Push("main")
	b := p.End(1, autobuild.Succeeded)
	if b.Attempt != 1 {
		h.T.Errorf("it took %d attempts, want 1: the CI had the first", b.Attempt)
	}
	p.Holds("latest", b, "lost")
	p.OneEnd(commit)
}

// unreachable: builds wait while the CI is unreachable, show the reason, and start when it is back.
func (c *CI) unreachable(h *demotest.Env) {
	p := h.Automate(h.Dockerfile("x"), eachBranch())
	c.Proxy.Cut()
	p.Commit("One", h.Dockerfile("one"))
	p.Push("HEAD:refs/heads/b-one")
	p.Commit("Two", h.Dockerfile("two"))
	p.Push("HEAD:refs/heads/b-two")
	h.Until("both builds wait and say so", func() (bool, error) {
		builds, err := p.Builds(h.Context)
		waiting := 0
		for _, b := range builds {
			if b.State == autobuild.Queued && strings.Contains(b.Detail, "is not available") {
				waiting++
			}
		}
		return waiting == 2, err
	})
	c.Proxy.Restore()
	for _, b := range p.All(2) {
		if b.State != autobuild.Succeeded {
			h.T.Errorf("want success, but %s", h.BuildOf(b))
			continue
		}
		p.Holds(b.Ref.Name, b, strings.TrimPrefix(b.Ref.Name, "b-"))
		_, err := h.WaitStatus(h.Context, b)
		h.Must(err)
		p.OneEnd(b.Commit.Hash)
	}
}

// endsBeforeRunner: if a pipeline ends before the runner starts, the build loses an attempt. The
// pipeline's output is in the build's log.
func (c *CI) endsBeforeRunner(h *demotest.Env) {
	p := h.Automate(h.Dockerfile("x"), demotest.MainToLatest())
	commit := p.Commit("Away", h.Dockerfile("away"))
	c.withoutProgram(h, func() {
		p.Push("main")
		h.Until("the first attempt has failed", func() (bool, error) {
			b, err := p.Builds(h.Context)
			return len(b) == 1 &&
				(b[0].Attempt > 1 || b[0].State == autobuild.Queued && b[0].Attempt == 1 || b[0].State.Final()), err
		})
	})
	b := p.End(1, autobuild.Succeeded)
	log, err := h.Browser.Log(h.Context, b, 1, 0)
	h.Must(err)
	if b.Attempt < 2 || !strings.Contains(log, "ended before its runner came") || !strings.Contains(log, "slipway") {
		h.T.Errorf(
			"it succeeded in attempt %d; the log of the first one does not say what its pipeline printed:\n%s",
			b.Attempt, log,
		)
	}
	p.OneEnd(commit)
}

// withoutProgram calls do while the program of the steps is missing.
func (c *CI) withoutProgram(h *demotest.Env, do func()) {
	h.Must(os.Rename(c.Program, c.Program+".away"))
	do()
	h.Must(os.Rename(c.Program+".away", c.Program))
}

// cancelUnstarted: a pipeline that the CI has not started is canceled on the CI as well.
func (c *CI) cancelUnstarted(h *demotest.Env) {
	p := h.Automate(h.Dockerfile("x"), demotest.MainToLatest())
	p.Commit("Unwanted", h.Dockerfile("unwanted"))
	c.Hold()
	p.Push("main")
	b := p.Await(1, autobuild.Starting)
	h.Until("the CI has it", func() (bool, error) {
		store, err := h.Gateway.Store(h.Context)
		if err != nil {
			return false, err
		}
		defer store.Close()
		a, err := store.Attempt(h.Context, b.ID, b.Attempt)
		return strings.Contains(a.EngineRef, "#"), err
	})
	p.Cancel(b)
	c.Release()
	p.Commit("Wanted", h.Dockerfile("wanted"))
	p.Push("main")
	p.Holds("latest", p.End(2, autobuild.Succeeded), "wanted")
}

// endNotReported: the runner is killed, and the CI reports its pipeline as running. The build's
// timeout ends it.
func (c *CI) endNotReported(h *demotest.Env) {
	p, b := occupy(h)
	c.Proxy.Freeze()
	h.Must(KillRunner(h.Context, autobuild.Attempt{BuildID: b.ID, Number: b.Attempt}))
	b = p.End(1, autobuild.Failed)
	c.Proxy.Thaw()
	if b.Reason != autobuild.ReasonTimeout || b.Attempt != 1 {
		h.T.Errorf("build %+v, want attempt 1 failed by its time", b)
	}
	p.OneEnd(b.Commit.Hash)
}

// gatewayRestarted: a pipeline continues while the gateway restarts. Its log, state and status
// reach the gateway afterwards.
func gatewayRestarted(h *demotest.Env) {
	p := h.Automate(h.Dockerfile("x"), demotest.MainToLatest())
	commit := p.Commit("Away", h.Dockerfile("restart", "RUN echo before-$((6*7)); sleep 6; echo after-$((6*8))"))
	p.Push("main")
	b := p.Await(1, autobuild.Running)
	_, err := h.Browser.WaitLog(h.Context, b, 1, func(log string) bool { return strings.Contains(log, "before-42") })
	h.Must(err)
	h.Gateway.Stop()
	h.Must(h.Gateway.Start(h.Context))
	b = p.End(1, autobuild.Succeeded)
	log, err := h.Browser.Log(h.Context, b, 1, 0)
	h.Must(err)
	if b.Attempt != 1 || !strings.Contains(log, "before-42") || !strings.Contains(log, "after-48") {
		h.T.Errorf("it succeeded in attempt %d with the log\n%s", b.Attempt, log)
	}
	p.Holds("latest", b, "restart")
	p.OneEnd(commit)
}
