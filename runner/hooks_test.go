package runner_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/runner/spec"
)

func allHooks(t *testing.T) (files map[string]string, said func() string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "said")
	files = dockerfile("FROM scratch\n")
	for _, name := range []string{"post_checkout", "pre_build", "post_build", "pre_test", "test", "post_test", "pre_push", "post_push"} {
		files[hook(name)] = "#!/bin/sh\nconfig=; [ -r \"$DOCKER_CONFIG/config.json\" ] && config=\" with credentials\"\n" +
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

// pushHooks has the gateway give hooks that push its credential.
func pushHooks(s *spec.Spec) { s.PushHooks = true }

func TestB1HooksAroundTheBuild(t *testing.T) {
	w := newWorld(t)
	w.edit = pushHooks
	files, said := allHooks(t)
	b := w.must(w.push(files), autobuild.Succeeded, "")
	want := "post_checkout in svc\npre_build in svc\npost_build in svc\npre_test in svc\ntest in svc\npost_test in svc\n" +
		"pre_push in svc with credentials\npost_push in svc with credentials\n"
	if got := said(); got != want {
		t.Errorf("hooks said:\n%s\nwant:\n%s", got, want)
	}
	if len(b.Stages) != 4 || b.Stages[2].Name != "test" {
		t.Errorf("stages %+v", b.Stages)
	}
}

func TestPushHooksOnlyWhenPublishing(t *testing.T) {
	w := newWorld(t)
	w.edit = func(s *spec.Spec) { s.Publish = false }
	files, said := allHooks(t)
	w.must(w.push(files), autobuild.Succeeded, "")
	if got := said(); strings.Contains(got, "_push") || !strings.Contains(got, "post_test") {
		t.Errorf("hooks said:\n%s", got)
	}
}

// B3, B9: a failing hook ends the build, named with its code, and the tags stay.
func TestB3FailingHooks(t *testing.T) {
	for name, reason := range map[string]autobuild.Reason{"pre_build": autobuild.ReasonHook, "test": autobuild.ReasonTest, "pre_push": autobuild.ReasonHook} {
		w := newWorld(t)
		before := w.put("latest", "as it was")
		files := dockerfile("FROM scratch\n")
		files[hook(name)] = "#!/bin/sh\nexit 3\n"
		b := w.must(w.push(files), autobuild.Failed, reason)
		if !strings.Contains(b.Detail, "hooks/"+name) || !strings.Contains(b.Detail, "exit code 3") {
			t.Errorf("%s: detail %q", name, b.Detail)
		}
		if w.tag("latest") != before {
			t.Errorf("%s: latest moved", name)
		}
	}
}

func TestHooksThatMayNotRunFailTheBuild(t *testing.T) {
	w := newWorld(t)
	w.hooks = false
	files := dockerfile("FROM scratch\n")
	files[hook("post_push")] = "#!/bin/sh\n"
	b := w.must(w.push(files), autobuild.Failed, autobuild.ReasonHook)
	if !strings.Contains(b.Detail, "hooks/post_push") || !strings.Contains(b.Detail, "SLIPWAY_RUNNER_HOOKS") {
		t.Errorf("detail %q", b.Detail)
	}
	if len(w.builder.requests) != 0 {
		t.Error("it was built all the same")
	}
	w.must(
		w.push(map[string]string{"svc/Dockerfile": "FROM other\n", hook("post_push") + ".bak": ""}),
		autobuild.Failed,
		autobuild.ReasonHook,
	)
}

// A Dockerfile may be made by a hook.
func TestHookMakesTheDockerfile(t *testing.T) {
	w := newWorld(t)
	w.must(
		w.push(map[string]string{hook("pre_build"): "#!/bin/sh\necho FROM scratch > Dockerfile\n"}),
		autobuild.Succeeded,
		"",
	)
}

// seeded makes the registry point IMAGE_NAME at an image when a hook asks for it.
func (w *world) seeded(t *testing.T) (files map[string]string) {
	t.Helper()
	w.registry.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.URL.Path == "/pushed-by-hook" {
			w.registry.set(nil)
			w.put("1.2", "made by hooks/build")
			return
		}
		next.ServeHTTP(rw, r)
	})
	return map[string]string{"svc/README": "no Dockerfile needed", hook("build"): pushScript(w.registry.URL)}
}

// pushScript asks for a push with nothing but bash.
func pushScript(url string) string {
	host, port, _ := strings.Cut(strings.TrimPrefix(url, "http://"), ":")
	return "#!/bin/bash\nexec 3<>/dev/tcp/" + host + "/" + port + "\n" +
		`printf 'POST /pushed-by-hook HTTP/1.0\r\nContent-Length: 0\r\n\r\n' >&3; cat <&3 >/dev/null` + "\n"
}

// B2, B5: hooks/build replaces the build; the tags it did not make are made from IMAGE_NAME.
func TestB2B5HookBuilds(t *testing.T) {
	w := newWorld(t)
	w.edit = pushHooks
	b := w.must(w.push(w.seeded(t)), autobuild.Succeeded, "")
	if len(w.builder.requests) != 0 {
		t.Error("the default build ran too")
	}
	for _, tag := range []string{"1.2", "1", "latest"} {
		if got := w.tag(tag); got == "" || got != b.Digest {
			t.Errorf("tag %s is at %q, want %q", tag, got, b.Digest)
		}
	}
}

func TestHookThatBuildsNothing(t *testing.T) {
	w := newWorld(t)
	w.edit = pushHooks
	idle := map[string]string{"svc/README": "", hook("build"): "#!/bin/sh\n"}
	b := w.must(w.push(idle), autobuild.Failed, autobuild.ReasonHook)
	if !strings.Contains(b.Detail, w.image()+":1.2") {
		t.Errorf("detail %q", b.Detail)
	}
	// The image of an earlier build is not this one's.
	w.put("1.2", "of an earlier build")
	idle["svc/README"] = "again"
	w.must(w.push(idle), autobuild.Failed, autobuild.ReasonHook)
	w.edit = func(s *spec.Spec) { s.Publish = false }
	idle["svc/README"] = "tested only"
	w.must(w.push(idle), autobuild.Succeeded, "")
}

func TestSupersededHookBuildDoesNotStart(t *testing.T) {
	w := newWorld(t)
	w.edit = pushHooks
	older := w.push(w.seeded(t))
	newer := map[string]string{
		"svc/Dockerfile": "FROM newer\n",
		hook("build"):    "#!/bin/sh\n",
		hook("push"):     "#!/bin/sh\n",
	}
	w.must(w.push(newer), autobuild.Succeeded, "")
	w.must(older, autobuild.Cancelled, autobuild.ReasonSuperseded)
	if got := w.tag("1.2"); got != "" {
		t.Errorf("hooks/build of the older build ran: 1.2 is at %s", got)
	}
}

// hooks/push replaces the push of tags; the image is in the registry by its digest.
func TestHookPushes(t *testing.T) {
	w := newWorld(t)
	w.edit = pushHooks
	files := w.seeded(t)
	files[hook("push")] = files[hook("build")]
	delete(files, hook("build"))
	files["svc/Dockerfile"] = "FROM scratch\n"
	b := w.must(w.push(files), autobuild.Succeeded, "")
	if w.tag("1.2") == "" || w.tag("latest") != "" || !strings.Contains(w.log(b), "hooks/push left no tag latest") {
		t.Errorf("1.2 at %q, latest at %q; log:\n%s", w.tag("1.2"), w.tag("latest"), w.log(b))
	}
}
