package attempt_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway/runner/runnertest"
	"slipway/runner/spec"
)

func allHooks(t *testing.T) (files map[string]string, output func() string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "output")
	files = runnertest.Dockerfile("FROM scratch\n")
	for _, name := range []string{"post_checkout", "pre_build", "post_build", "pre_test", "test", "post_test", "pre_push", "post_push"} {
		files[runnertest.Hook(name)] = "#!/bin/sh\nconfig=; [ -r \"$DOCKER_CONFIG/config.json\" ] && config=\" with credentials\"\n" +
			"echo \"" + name + " in $(basename \"$PWD\")$config\" >> " + out + "\n"
	}
	return files, func() string {
		b, err := os.ReadFile(out)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return string(b)
	}
}

// pushHooks allows hooks that push to get the gateway's credential.
func pushHooks(s *spec.Spec) { s.PushHooks = true }

func TestB1HooksAroundTheBuild(t *testing.T) {
	e := newEnv(t)
	e.Edit = pushHooks
	files, output := allHooks(t)
	b := e.must(e.Push(files), spec.Succeeded, "")
	want := "post_checkout in svc\npre_build in svc\npost_build in svc\npre_test in svc\ntest in svc\npost_test in svc\n" +
		"pre_push in svc with credentials\npost_push in svc with credentials\n"
	if got := output(); got != want {
		t.Errorf("hook output: got:\n%s\nwant:\n%s", got, want)
	}
	if got := len(b.Stages); got != 4 {
		t.Errorf("got %d stages, want 4", got)
	}
	if b.Stages[2].Name != "test" {
		t.Errorf("stage 2: got %q, want %q", b.Stages[2].Name, "test")
	}
}

func TestPushHooksOnlyWhenPublishing(t *testing.T) {
	e := newEnv(t)
	e.Edit = func(s *spec.Spec) { s.Publish = false }
	files, output := allHooks(t)
	e.must(e.Push(files), spec.Succeeded, "")
	runnertest.CheckLacks(t, "the hooks' output", output(), "_push")
	runnertest.CheckHas(t, "the hooks' output", output(), "post_test")
}

// B3, B9: a failing hook fails the build. The detail names the hook and its exit code, and no tag moves.
func TestB3FailingHooks(t *testing.T) {
	for name, reason := range map[string]string{"pre_build": "hook", "test": "test", "pre_push": "hook"} {
		e := newEnv(t)
		before := e.Registry.Put("latest", "as it was")
		files := runnertest.Dockerfile("FROM scratch\n")
		files[runnertest.Hook(name)] = "#!/bin/sh\nexit 3\n"
		b := e.must(e.Push(files), spec.Failed, reason)
		runnertest.CheckHas(t, name+": the detail", b.Detail, "hooks/"+name)
		runnertest.CheckHas(t, name+": the detail", b.Detail, "exit code 3")
		if e.Registry.Tag("latest") != before {
			t.Errorf("%s: tag latest: got %s, want %s", name, e.Registry.Tag("latest"), before)
		}
	}
}

func TestHooksThatMayNotRunFailTheBuild(t *testing.T) {
	e := newEnv(t)
	e.hooks = false
	files := runnertest.Dockerfile("FROM scratch\n")
	files[runnertest.Hook("post_push")] = "#!/bin/sh\n"
	b := e.must(e.Push(files), spec.Failed, "hook")
	runnertest.CheckHas(t, "the detail", b.Detail, "hooks/post_push")
	runnertest.CheckHas(t, "the detail", b.Detail, "SLIPWAY_RUNNER_HOOKS")
	if len(e.Builder.Requests) != 0 {
		t.Error("got a build, want none")
	}
	e.must(
		e.Push(map[string]string{"svc/Dockerfile": "FROM other\n", runnertest.Hook("post_push") + ".bak": ""}),
		spec.Failed,
		"hook",
	)
}

// Without its hooks, the build would make a different image. So the build fails.
func TestHooksThatTheGatewayTurnsOffFailTheBuild(t *testing.T) {
	e := newEnv(t)
	e.Edit = func(s *spec.Spec) { s.HooksOff = "SLIPWAY_HOOKS=off at the gateway" }
	files := runnertest.Dockerfile("FROM scratch\n")
	e.must(e.Push(files), spec.Succeeded, "")
	files[runnertest.Hook("pre_build")] = "#!/bin/sh\n"
	b := e.must(e.Push(files), spec.Failed, "hook")
	const want = "the repository has the build hook hooks/pre_build, and build hooks are off (SLIPWAY_HOOKS=off at the gateway)"
	if b.Detail != want {
		t.Errorf("detail: got %q, want %q", b.Detail, want)
	}
}

// A hook may make the Dockerfile.
func TestHookMakesTheDockerfile(t *testing.T) {
	e := newEnv(t)
	e.must(
		e.Push(map[string]string{runnertest.Hook("pre_build"): "#!/bin/sh\necho FROM scratch > Dockerfile\n"}),
		spec.Succeeded,
		"",
	)
}

// seeded makes the registry point IMAGE_NAME at an image when a hook asks for it.
func (e *env) seeded(t *testing.T) (files map[string]string) {
	t.Helper()
	e.Registry.Intercept(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.URL.Path == "/pushed-by-hook" {
			e.Registry.Intercept(nil)
			e.Registry.Put("1.2", "made by hooks/build")
			return
		}
		next.ServeHTTP(rw, r)
	})
	return map[string]string{"svc/README": "no Dockerfile needed", runnertest.Hook("build"): pushScript(e.Registry.URL)}
}

// pushScript sends an HTTP request for a push with bash alone.
func pushScript(url string) string {
	host, port, _ := strings.Cut(strings.TrimPrefix(url, "http://"), ":")
	return "#!/bin/bash\nexec 3<>/dev/tcp/" + host + "/" + port + "\n" +
		`printf 'POST /pushed-by-hook HTTP/1.0\r\nContent-Length: 0\r\n\r\n' >&3; cat <&3 >/dev/null` + "\n"
}

// B2, B5: hooks/build replaces the build. The runner makes the missing tags from IMAGE_NAME.
func TestB2B5HookBuilds(t *testing.T) {
	e := newEnv(t)
	e.Edit = pushHooks
	b := e.must(e.Push(e.seeded(t)), spec.Succeeded, "")
	if len(e.Builder.Requests) != 0 {
		t.Error("got a default build, want none")
	}
	for _, tag := range []string{"1.2", "1", "latest"} {
		if got := e.Registry.Tag(tag); got == "" || got != b.Digest {
			t.Errorf("tag %s: got %q, want %q", tag, got, b.Digest)
		}
	}
}

func TestHookThatBuildsNothing(t *testing.T) {
	e := newEnv(t)
	e.Edit = pushHooks
	idle := map[string]string{"svc/README": "", runnertest.Hook("build"): "#!/bin/sh\n"}
	b := e.must(e.Push(idle), spec.Failed, "hook")
	if !strings.Contains(b.Detail, e.Registry.Image()+":1.2") {
		t.Errorf("detail: got %q, want image %s:1.2 in it", b.Detail, e.Registry.Image())
	}
	// An image of an earlier build does not count.
	e.Registry.Put("1.2", "of an earlier build")
	idle["svc/README"] = "again"
	e.must(e.Push(idle), spec.Failed, "hook")
	e.Edit = func(s *spec.Spec) { s.Publish = false }
	idle["svc/README"] = "tested only"
	e.must(e.Push(idle), spec.Succeeded, "")
}

func TestSupersededHookBuildDoesNotStart(t *testing.T) {
	e := newEnv(t)
	e.Edit = pushHooks
	older := e.Push(e.seeded(t))
	newer := map[string]string{
		"svc/Dockerfile":         "FROM newer\n",
		runnertest.Hook("build"): "#!/bin/sh\n",
		runnertest.Hook("push"):  "#!/bin/sh\n",
	}
	e.must(e.Push(newer), spec.Succeeded, "")
	e.must(older, spec.Cancelled, "superseded")
	if got := e.Registry.Tag("1.2"); got != "" {
		t.Errorf("tag 1.2 of the older build: got %s, want none", got)
	}
}

// hooks/push replaces the push of tags. Before, the runner pushes the image by its digest.
func TestHookPushes(t *testing.T) {
	e := newEnv(t)
	e.Edit = pushHooks
	files := e.seeded(t)
	files[runnertest.Hook("push")] = files[runnertest.Hook("build")]
	delete(files, runnertest.Hook("build"))
	files["svc/Dockerfile"] = "FROM scratch\n"
	b := e.must(e.Push(files), spec.Succeeded, "")
	if e.Registry.Tag("1.2") == "" {
		t.Errorf("tag 1.2: got none, want a digest")
	}
	if got := e.Registry.Tag("latest"); got != "" {
		t.Errorf("tag latest: got %q, want none", got)
	}
	runnertest.CheckHas(t, "the log", b.Log, "hooks/push did not push tag latest")
}

// A link in place of the checkout leads to files that the runner can read and the hook cannot.
func TestHookReplacesTheCheckout(t *testing.T) {
	outside := t.TempDir()
	for name, text := range map[string]string{"svc/Dockerfile": "FROM scratch\nCOPY secret /\n", "svc/secret": "secret"} {
		path := filepath.Join(outside, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for hook, replace := range map[string]string{
		"post_checkout": "ln -s " + outside + " \"$tree\"",
		"pre_build":     "cp -r " + outside + " \"$tree\"",
	} {
		e := newEnv(t)
		files := runnertest.Dockerfile("FROM scratch\n")
		files[runnertest.Hook(hook)] = "#!/bin/sh\ntree=$(git rev-parse --show-toplevel)\n" +
			"mv \"$tree\" \"$tree-moved\"\n" + replace + "\n"
		b := e.must(e.Push(files), spec.Failed, "hook")
		runnertest.CheckHas(t, hook+": the detail", b.Detail, "hooks/"+hook+" moved or replaced")
	}
}

// A later hook that an earlier one replaced fails the build. Another attempt would not help.
func TestHookReplacesAHook(t *testing.T) {
	e := newEnv(t)
	files := runnertest.Dockerfile("FROM scratch\n")
	files[runnertest.Hook("post_checkout")] = "#!/bin/sh\nln -sf /bin/true hooks/pre_build\n"
	files[runnertest.Hook("pre_build")] = "#!/bin/sh\n"
	b := e.must(e.Push(files), spec.Failed, "hook")
	runnertest.CheckHas(t, "the detail", b.Detail, "hooks/pre_build cannot be made executable")
}
