package step_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/runner/buildkit"
	"slipway/runner/runnertest"
)

// logins is the setting as a CI hands it over.
func logins(entries ...[3]string) string {
	all := make([]string, len(entries))
	for i, e := range entries {
		all[i] = `{"registry":"` + e[0] + `","username":"` + e[1] + `","password":"` + e[2] + `"}`
	}
	return "PLUGIN_LOGINS=[" + strings.Join(all, ",") + "]"
}

func TestOneImageGoesToEachRepositoryByItsOwnLogin(t *testing.T) {
	e := newEnv(t)
	other := runnertest.NewRegistry(t)
	host := other.Host()
	e.Registry.Intercept(runnertest.RequireLogin("ci", "first-canary"))
	other.Intercept(runnertest.RequireLogin("robot", "second-canary"))
	web := strings.TrimSuffix(e.Registry.Image(), "app") + "web"
	images := []string{e.Registry.Image(), host + "/team/app", web}
	dir := runnertest.Workspace(t, map[string]string{"Dockerfile": "FROM scratch\n"})
	out, err := e.run(
		"CI_WORKSPACE="+dir,
		"PLUGIN_REPO="+strings.Join(images, ","),
		"PLUGIN_TAGS=1.2,latest",
		"PLUGIN_USERNAME=ci",
		"PLUGIN_PASSWORD=first-canary",
		logins(
			[3]string{"http://" + host + "/v2/", "robot", "second-canary"},
		),
		"PLUGIN_METADATA_FILE=metadata.json",
		"PLUGIN_CACHE=inline",
	)
	if err != nil {
		t.Fatalf("step: %v\n%s", err, out)
	}
	runnertest.CheckLacks(t, "the log", out, "canary")
	e.Registry.Intercept(nil)
	other.Intercept(nil)
	digest := e.Registry.Tag("1.2")
	metadata, err := os.ReadFile(filepath.Join(dir, "metadata.json"))
	if err != nil {
		t.Fatalf("step: %v", err)
	}
	if digest == "" {
		t.Error("digest: got none, want one")
	}
	for _, image := range images {
		for _, tag := range []string{":1.2", ":latest"} {
			if got := runnertest.Digest(t, image+tag); got != digest {
				t.Errorf("%s: got %q, want %q", image+tag, got, digest)
			}
			runnertest.CheckHas(t, "the metadata", string(metadata), image+tag)
			runnertest.CheckHas(t, "the log", out, "pushed "+image+tag)
		}
	}
	want := host + ", by PLUGIN_LOGINS (entry 1)"
	runnertest.CheckHas(t, "the log", out, want)
	if got := len(e.Builder.Requests); got != 1 {
		t.Errorf("builds: got %v, want %v", got, 1)
	}
	if diff := cmp.Diff([]string{"", "", e.Registry.Image()}, e.Builder.Mounts); diff != "" {
		t.Errorf("mounted blobs (-want +got):\n%s", diff)
	}
	if n := len(e.Builder.Requests[0].Options.CacheFrom); n != 6 {
		t.Errorf("places of an inline cache: got %d, want 6", n)
	}
}

// A repository that another login is for gives that one's registry nothing to mount from.
func TestNothingIsMountedAcrossLogins(t *testing.T) {
	e := newEnv(t)
	host := strings.TrimPrefix(e.Registry.URL, "http://")
	out, err := e.run(
		"PLUGIN_REPO="+host+"/a/app,"+host+"/b/app",
		logins([3]string{host + "/a", "ada", "x-canary"}, [3]string{host + "/b", "bob", "y-canary"}),
	)
	if err != nil {
		t.Fatalf("step: %v\n%s", err, out)
	}
	if diff := cmp.Diff([]string{"", ""}, e.Builder.Mounts); diff != "" {
		t.Errorf("mounted blobs (-want +got):\n%s", diff)
	}
}

func TestACacheReplacesNoTagOfAnyRepository(t *testing.T) {
	e := newEnv(t)
	host := runnertest.NewRegistry(t).Host()
	_, err := e.run(
		"PLUGIN_REPO="+e.Registry.Image()+","+host+"/acme/app",
		"PLUGIN_TAGS=1.2",
		"PLUGIN_CACHE=registry="+host+"/acme/app:1.2",
	)
	if err == nil {
		t.Fatal("step: got no error, want one")
	}
	runnertest.CheckHas(t, "the error", err.Error(), "the step pushes the image to the same tag")
	for _, cache := range []string{"registry=acme/app", "registry=docker.io/acme/app:latest", "registry=index.docker.io/acme/app:latest"} {
		_, err := e.run(
			"PLUGIN_REPO=acme/app",
			"PLUGIN_USERNAME=",
			"PLUGIN_PASSWORD=",
			"PLUGIN_TAGS=latest",
			"PLUGIN_CACHE="+cache,
		)
		if err == nil {
			t.Errorf("%s: got no error, want one", cache)
			continue
		}
		runnertest.CheckHas(t, cache+": the error", err.Error(), "the step pushes the image to the same tag")
	}
}

func refusing(method, suffix string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == method && strings.Contains(r.URL.Path, suffix) {
			rw.WriteHeader(http.StatusBadRequest)
			return
		}
		next.ServeHTTP(rw, r)
	}
}

func TestNoTagMovesUntilEveryRepositoryHasTheImage(t *testing.T) {
	e := newEnv(t)
	other := runnertest.NewRegistry(t)
	host := other.Host()
	other.Intercept(refusing(http.MethodPut, "/manifests/sha256:"))
	out, err := e.run("PLUGIN_REPO=" + host + "/acme/app," + e.Registry.Image())
	if err == nil {
		t.Fatalf("step: got no error, want one\n%s", out)
	}
	runnertest.CheckHas(
		t,
		"the error",
		err.Error(),
		"no tag was moved: 1 of 2 repositories did not get the image: push sha256:",
	)
	runnertest.CheckHas(t, "the error", err.Error(), host)
	if e.Registry.Tag("latest") != "" {
		t.Error("tag latest: got it moved, want it unchanged")
	}
}

func TestTheErrorOfATagNamesItsRepository(t *testing.T) {
	e := newEnv(t)
	other := runnertest.NewRegistry(t)
	host := other.Host()
	other.Intercept(refusing(http.MethodPut, "/manifests/1.2"))
	out, err := e.run("PLUGIN_REPO="+host+"/acme/app,"+e.Registry.Image(), "PLUGIN_TAGS=1.2,latest")
	if err == nil {
		t.Fatalf("step: got no error, want one:\n%s", out)
	}
	for _, want := range []string{"1 of 4 tags were not pushed: " + host + "/acme/app:1.2: ", "; pushed: " + host + "/acme/app:latest, " + e.Registry.Image() + ":1.2, " + e.Registry.Image() + ":latest"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("step: got error %v, want %q in it", err, want)
		}
	}
	runnertest.CheckHas(t, "the log", out, "tag "+host+"/acme/app:1.2 was not pushed")
	if e.Registry.Tag("1.2") == "" {
		t.Error("tag 1.2: got no image, want one")
	}
}

func TestALoginThatIsRefusedIsNamedAndEndsTheBuild(t *testing.T) {
	e := newEnv(t)
	e.Builder.OnBuild = untilStopped
	other := runnertest.NewRegistry(t)
	host := other.Host()
	e.Registry.Intercept(runnertest.RequireLogin("ci", "right"))
	other.Intercept(runnertest.RequireLogin("robot", "right"))
	both, first := "PLUGIN_REPO="+e.Registry.Image()+","+host+"/acme/app", [3]string{
		strings.TrimPrefix(e.Registry.URL, "http://"),
		"ci",
		"right",
	}
	for want, environ := range map[string][]string{
		"the login of PLUGIN_LOGINS (entry 2) is wrong or may not push there":                   {both, logins(first, [3]string{host, "robot", "canary"})},
		"no setting has a login for " + host:                                                    {both, logins(first)},
		"the login of DOCKER_USERNAME and DOCKER_PASSWORD is wrong or may not push there":       {"DOCKER_USERNAME=ci", "DOCKER_PASSWORD=canary"},
		"the login of PLUGIN_CONFIG (auths of " + first[0] + ") is wrong or may not push there": {`PLUGIN_CONFIG={"auths":{"` + first[0] + `":{"username":"ci","password":"canary"}}}`},
		"the login of PLUGIN_LOGINS (entry 2) is wrong: " + host + " does not accept it":        {logins(first, [3]string{host, "robot", "canary"})},
		"the login of PLUGIN_BASE_IMAGE_USERNAME and DOCKER_BASE_IMAGE_PASSWORD is wrong: " + host: {
			logins(first), "PLUGIN_BASE_IMAGE_REGISTRY=" + host, "PLUGIN_BASE_IMAGE_USERNAME=robot", "DOCKER_BASE_IMAGE_PASSWORD=canary", "PLUGIN_DRY_RUN=true",
		},
	} {
		out, err := e.run(environ...)
		if err == nil {
			t.Errorf("step: got no error, want one\n%s", out)
			continue
		}
		runnertest.CheckHas(t, "the error", err.Error(), want)
		runnertest.CheckLacks(t, "the log and the error", out+err.Error(), "canary")
	}
}

// A config.json may hold logins that are for other steps, and a registry that is only read may be gone.
// In both cases the step still builds.
func TestALoginThatNothingNeedsFailsNoStep(t *testing.T) {
	e := newEnv(t)
	other := runnertest.NewRegistry(t)
	host := other.Host()
	other.Intercept(runnertest.RequireLogin("robot", "right"))
	out, err := e.run(
		`PLUGIN_CONFIG={"auths":{"`+host+`":{"username":"robot","password":"canary"}}}`,
		logins([3]string{"127.0.0.1:1", "ci", "canary"}),
	)
	if err != nil {
		t.Fatalf("step: %v\n%s", err, out)
	}
	if e.Registry.Tag("latest") == "" {
		t.Error("tag latest: got no image, want one")
	}
	runnertest.CheckHas(t, "the log", out, "note: the login of PLUGIN_LOGINS (entry 1) was not checked")
}

func TestABaseImageThatIsRefusedNamesTheSetting(t *testing.T) {
	e := newEnv(t)
	for text, want := range map[string]string{
		"failed to resolve source metadata for docker.io/acme/base:1: pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed": "no setting has a login for docker.io: if the image exists, set PLUGIN_LOGINS",
		"failed to resolve source metadata for quay.io/acme/base@sha256:00: unexpected status from HEAD request to https://quay.io/v2/acme/base/manifests/sha256:00: 401 Unauthorized":                      "; the login of PLUGIN_CONFIG (auths of quay.io) is wrong or may not read there",
		"failed to resolve source metadata for localhost:5000/base: failed to authorize: failed to fetch oauth token: 401":                                                                                  "no setting has a login for localhost:5000:",
	} {
		e.Builder.BuildError = &buildkit.BuildError{Err: errors.New(text)}
		_, err := e.run(`PLUGIN_CONFIG={"auths":{"quay.io":{"username":"ci","password":"canary"}}}`)
		if err == nil {
			t.Error("step: got no error, want one")
			continue
		}
		runnertest.CheckHas(t, "the error", err.Error(), want)
	}
	command := `process "/bin/sh -c curl https://quay.io/v2/acme/base/tags/list || echo x509: no space left on device"`
	e.Builder.BuildError = &buildkit.BuildError{ExitCode: 1, Err: errors.New(command + " did not complete")}
	_, err := e.run()
	if err == nil || !strings.HasSuffix(err.Error(), " did not complete") {
		t.Errorf("a command with the text of other errors: got error %v, want no fix at its end", err)
	}
	e.Builder.BuildError = errors.New("failed to resolve source metadata for quay.io/acme/base: not found")
	_, err = e.run()
	if err == nil {
		t.Fatal("step: got no error, want one")
	}
	runnertest.CheckLacks(t, "the error", err.Error(), "login")
}
