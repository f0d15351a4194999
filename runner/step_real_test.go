package runner_test

import (
	"encoding/base64"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"

	"slipway/runner/runnertest"
)

// This test replaces nothing. Each run starts a builder with an empty state. The second run finds the
// steps of all stages of the first one in the configured cache.
func TestASecondStepUsesTheCache(t *testing.T) {
	needBuildKit(t)
	e := newEnv(t)
	cache := strings.TrimSuffix(e.Registry.Image(), "app") + "cache:main"
	dir := shellWorkspace(
		t,
		"RUN busybox cat /proc/sys/kernel/random/uuid > /id\nFROM scratch\nCOPY --from=0 /id /greeting\n",
		map[string]string{},
	)
	var made []string
	for _, tag := range []string{"one", "two"} {
		out, err := stepCommand(
			t,
			dir,
			"PLUGIN_REPO="+e.Registry.Image(),
			"PLUGIN_TAGS="+tag,
			"PLUGIN_INSECURE=true",
			"PLUGIN_CACHE=registry="+cache,
			"PLUGIN_COMPRESSION=zstd",
			"PLUGIN_LABELS=team=a",
			"CI_COMMIT_SHA=4f1d0c8",
			"PLUGIN_BUILDKIT_DEBUG=true",
		).CombinedOutput()
		if err != nil {
			t.Errorf("step: %v\n%s", err, out)
			continue
		}
		runnertest.CheckHas(t, "the log", string(out), "cache       registry "+cache)
		runnertest.CheckHas(t, "the log", string(out), "note: PLUGIN_BUILDKIT_DEBUG")
		ref, err := name.ParseReference(e.Registry.Image() + ":" + tag)
		if err != nil {
			t.Fatal(err)
		}
		img, err := remote.Image(ref)
		if err != nil {
			t.Fatal(err)
		}
		config, err := img.ConfigFile()
		if err != nil {
			t.Errorf("step: %v", err)
			continue
		}
		if got := config.Config.Labels["team"]; got != "a" {
			t.Errorf("label team: got %q, want %q", got, "a")
		}
		const revision = "org.opencontainers.image.revision"
		if got := config.Config.Labels[revision]; got != "4f1d0c8" {
			t.Errorf("label %s: got %q, want %q", revision, got, "4f1d0c8")
		}
		manifest, err := img.Manifest()
		if err != nil {
			t.Errorf("step: %v", err)
			continue
		}
		if got := len(manifest.Layers); got != 1 {
			t.Errorf("got %d layers, want 1", got)
		}
		if manifest.Layers[0].MediaType != types.OCILayerZStd {
			t.Errorf("media type of the layer: got %v, want %v", manifest.Layers[0].MediaType, types.OCILayerZStd)
		}
		if got := manifest.Annotations[revision]; got != "4f1d0c8" {
			t.Errorf("annotation %s: got %q, want %q", revision, got, "4f1d0c8")
		}
		made = append(made, manifest.Layers[0].Digest.String())
	}
	if made[0] != made[1] {
		t.Errorf("results of RUN: got %v, want the first one twice", made)
	}
}
func TestTheErrorOfAStepWithAFullDiskNamesTheFix(t *testing.T) {
	needBuildKit(t)
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: a small disk is mounted, which needs root")
	}
	dir := runnertest.Workspace(
		t,
		map[string]string{"Dockerfile": "FROM scratch\nCOPY large /\n", "large": strings.Repeat("x", 90<<20)},
	)
	cmd := stepCommand(t, dir, "PLUGIN_REPO=acme/app", "PLUGIN_DRY_RUN=true")
	disk := variable(cmd.Env, "TMPDIR")
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=72m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
	out, err := cmd.CombinedOutput()
	want := "free space below TMPDIR (" + disk + "), set a volume for its cache (setting state, PLUGIN_STATE)"
	if err == nil {
		t.Fatalf("step: got no error, want one\n%s", out)
	}
	runnertest.CheckHas(t, "the log", string(out), want)
}

// This test replaces nothing. Two registries require different logins. One has the base image and the
// cache, and the step pushes the image to two repositories of the other.
func TestStepUsesEachRegistrysLogin(t *testing.T) {
	needBuildKit(t)
	e := newEnv(t)
	other := runnertest.NewRegistry(t)
	host := other.Host()
	base, err := name.NewTag(host + "/team/base:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(base, layered(t)); err != nil {
		t.Fatal(err)
	}
	e.Registry.Intercept(runnertest.RequireLogin("ci", "main-canary"))
	other.Intercept(runnertest.RequireLogin("robot", "base-canary"))
	dir := runnertest.Workspace(
		t,
		map[string]string{"Dockerfile": "FROM " + base.String() + "\nCOPY g /greeting\n", "g": "hello\n"},
	)
	web := strings.TrimSuffix(e.Registry.Image(), "app") + "web"
	environ := []string{
		"PLUGIN_REPO=" + e.Registry.Image() + "," + web,
		"PLUGIN_USERNAME=ci",
		"PLUGIN_PASSWORD=main-canary",
		"PLUGIN_CACHE=registry=" + host + "/team/cache:app",
		"PLUGIN_INSECURE=" + host + "," + strings.TrimPrefix(e.Registry.URL, "http://"),
	}
	cmd := stepCommand(
		t,
		dir,
		append(
			environ,
			`PLUGIN_CONFIG={"auths":{"`+host+`":{"auth":"`+base64.StdEncoding.EncodeToString(
				[]byte("robot:base-canary"),
			)+`"}}}`,
		)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("step: %v\n%s", err, out)
	}
	runnertest.CheckLacks(t, "the log", string(out), "canary")
	e.Registry.Intercept(nil)
	other.Intercept(nil)
	if got := greeting(t, e); got != "hello\n" {
		t.Errorf("greeting: got %q, want %q\n%s", got, "hello\n", out)
	}
	if got, want := runnertest.Digest(t, web+":latest"), e.Registry.Tag("latest"); got != want {
		t.Errorf("second repository: got digest %q, want %q\n%s", got, want, out)
	}
	if runnertest.Digest(t, host+"/team/cache:app") == "" {
		t.Errorf("cache: got no digest, want one\n%s", out)
	}
	checkNothingLeft(t, cmd)

	e.Registry.Intercept(runnertest.RequireLogin("ci", "main-canary"))
	other.Intercept(runnertest.RequireLogin("robot", "base-canary"))
	out, err = stepCommand(t, dir, environ...).CombinedOutput()
	want := "no setting has a login for " + host
	if err == nil {
		t.Fatalf("step: got no error, want one\n%s", out)
	}
	runnertest.CheckHas(t, "the log", string(out), want)
}

// RUN prints secrets from each kind of setting. The log masks all of them.
func TestStepGivesRUNItsSecretsAndTheLogMasksThem(t *testing.T) {
	needBuildKit(t)
	dir := shellWorkspace(t, "ARG VERSION\nARG LIST\n"+
		"RUN --mount=type=secret,id=npm --mount=type=secret,id=file --mount=type=secret,id=doc echo \"got $(busybox cat /run/secrets/npm /run/secrets/file /run/secrets/doc)\"\n"+
		"RUN echo \"args $VERSION $LIST via $HTTPS_PROXY\"\n", map[string]string{"etc/token": "file-canary\n", "doc": "document-canary"})
	cmd := stepCommand(
		t,
		dir,
		"PLUGIN_REPO=acme/app",
		"PLUGIN_DRY_RUN=true",
		"NPM_TOKEN=npm-canary",
		"VERSION=1.2",
		"https_proxy=http://ci:proxy-canary@127.0.0.1:9",
		"PLUGIN_SECRETS_FROM_ENV=npm=NPM_TOKEN",
		"PLUGIN_SECRETS_FROM_FILE=file=etc/token",
		`PLUGIN_SECRETS=id=doc\,src=doc`,
		"PLUGIN_BUILD_ARGS_FROM_ENV=VERSION",
		`PLUGIN_BUILD_ARGS={"LIST":"1,2"}`,
	)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("step: %v\n%s", err, out)
	}
	runnertest.CheckLacks(t, "the log", string(out), "canary")
	for _, want := range []string{"secrets     doc, npm, file", "got **********", "args 1.2 1,2 via ****"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("log: got:\n%s\nwant %q in it", out, want)
		}
	}
	checkNothingLeft(t, cmd)
}

// This test uses the program, a real BuildKit and a registry. It covers a Git tag in each mode, a file
// .tags of an earlier step, and a skipped branch.
func TestStepPushesTheTagsOfItsMode(t *testing.T) {
	needBuildKit(t)
	for _, c := range []struct {
		ref, files, want, logged string
		environ                  []string
	}{
		{ref: "refs/tags/v1.2.3", want: "1 1.2 1.2.3 latest", environ: []string{"PLUGIN_AUTO_TAG=true", "PLUGIN_AUTO_TAG_MODE=buildx"}, logged: "pushed  1, 1.2, 1.2.3, latest"},
		{ref: "refs/heads/main", files: "5.2.6,5.2.4\n", want: "5.2.4 5.2.6", logged: "5.2.6, 5.2.4 (.tags)"},
		{ref: "refs/heads/feature/x", want: "", environ: []string{"PLUGIN_AUTO-TAG=true"}, logged: "skipped: "},
	} {
		e := newEnv(t)
		files := map[string]string{"Dockerfile": "FROM scratch\nCOPY greeting /greeting\n", "greeting": "hello\n"}
		if c.files != "" {
			files[".tags"] = c.files
		}
		cmd := stepCommand(
			t,
			runnertest.Workspace(t, files),
			append(
				append(runnertest.OnRef(c.ref), "PLUGIN_REPO="+e.Registry.Image(), "PLUGIN_INSECURE=true"),
				c.environ...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("step: %v\n%s", err, out)
			continue
		}
		if got := e.Registry.Tags(); got != c.want {
			t.Errorf("tags: got %v, want %v", got, c.want)
		}
		runnertest.CheckHas(t, "the log", string(out), c.logged)
		checkNothingLeft(t, cmd)
	}
}

// This test replaces nothing. The first registry has the base image, so the builder does not send its
// layers there. The step sends them to the second registry.
func TestStepPushesToARegistryWithoutTheBaseImage(t *testing.T) {
	needBuildKit(t)
	e := newEnv(t)
	base, err := name.NewTag(strings.TrimSuffix(e.Registry.Image(), "app") + "base:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(base, layered(t)); err != nil {
		t.Fatal(err)
	}
	host := runnertest.NewRegistry(t).Host()
	dir := runnertest.Workspace(t, map[string]string{"Dockerfile": "FROM " + base.String() + "\nLABEL a=b\n"})
	out, err := stepCommand(
		t,
		dir,
		"PLUGIN_REPO="+e.Registry.Image()+","+host+"/acme/app",
		"PLUGIN_INSECURE=true",
	).CombinedOutput()
	if err != nil {
		t.Fatalf("step: %v\n%s", err, out)
	}
	got := runnertest.Digest(t, host+"/acme/app:latest")
	if got == "" {
		t.Fatalf("second registry: got no digest, want one\n%s", out)
	}
	if want := e.Registry.Tag("latest"); got != want {
		t.Errorf("second registry: got digest %q, want %q\n%s", got, want, out)
	}
}

// The settings reach RUN: a base image of Docker Hub comes from the mirror, and RUN uses the name
// servers.
func TestStepConfiguresMirrorsAndNameServersOfItsBuilder(t *testing.T) {
	needBuildKit(t)
	e := newEnv(t)
	mirror := strings.TrimPrefix(e.Registry.URL, "http://")
	ref, err := name.NewTag(mirror + "/acme/base:1")
	if err != nil {
		t.Fatal(err)
	}
	base, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{Architecture: runtime.GOARCH, OS: "linux"})
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, base); err != nil {
		t.Fatal(err)
	}
	dir := shellWorkspace(
		t,
		"RUN busybox cat /etc/resolv.conf; echo made > /made\nFROM acme/base:1\nCOPY --from=0 /made /made\n",
		map[string]string{},
	)
	cmd := stepCommand(
		t,
		dir,
		"PLUGIN_REPO=acme/app",
		"PLUGIN_DRY_RUN=true",
		"PLUGIN_MIRROR=http://"+mirror,
		"PLUGIN_CUSTOM_DNS=10.9.8.7",
	)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("step: %v\n%s", err, out)
	}
	runnertest.CheckHas(t, "the log", string(out), "nameserver 10.9.8.7")
}

// shellWorkspace returns a workspace whose Dockerfile has a shell.
func shellWorkspace(t *testing.T, dockerfile string, files map[string]string) string {
	t.Helper()
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skip("SKIPPED: RUN steps need a static shell, which is absent (Debian: apt-get install busybox-static)")
	}
	files["busybox"] = string(busybox)
	files["Dockerfile"] = "FROM scratch\nCOPY --chmod=755 busybox /bin/sh\nCOPY --chmod=755 busybox /bin/busybox\nENV PATH=/bin\n" + dockerfile
	return runnertest.Workspace(t, files)
}

// layered returns an image with one layer, for this machine's platform.
func layered(t *testing.T) v1.Image {
	t.Helper()
	img, err := random.Image(1<<10, 1)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config.OS, config.Architecture = "linux", runtime.GOARCH
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	return img
}
