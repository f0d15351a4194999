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

// The step with nothing replaced: each run starts a builder that knows nothing, and the second
// finds the first one's steps, of all stages, where the setting says.
func TestASecondStepTakesItsStepsFromTheCache(t *testing.T) {
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
			t.Errorf("got error %v\n%s", err, out)
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
			t.Errorf("got error %v", err)
			continue
		}
		if config.Config.Labels["team"] != "a" {
			t.Errorf(`config.Config.Labels["team"]: got %q, want %q`, config.Config.Labels["team"], "a")
		}
		if config.Config.Labels["org.opencontainers.image.revision"] != "4f1d0c8" {
			t.Errorf(
				`config.Config.Labels["org.opencontainers.image.revision"]: got %q, want %q`,
				config.Config.Labels["org.opencontainers.image.revision"],
				"4f1d0c8",
			)
		}
		manifest, err := img.Manifest()
		if err != nil {
			t.Errorf("got error %v", err)
			continue
		}
		if got := len(manifest.Layers); got != 1 {
			t.Errorf("number of manifest.Layers: got %v, want %v", got, 1)
		}
		if manifest.Layers[0].MediaType != types.OCILayerZStd {
			t.Errorf("manifest.Layers[0].MediaType: got %v, want %v", manifest.Layers[0].MediaType, types.OCILayerZStd)
		}
		if manifest.Annotations["org.opencontainers.image.revision"] != "4f1d0c8" {
			t.Errorf(
				`manifest.Annotations["org.opencontainers.image.revision"]: got %q, want %q`,
				manifest.Annotations["org.opencontainers.image.revision"],
				"4f1d0c8",
			)
		}
		made = append(made, manifest.Layers[0].Digest.String())
	}
	if made[0] != made[1] {
		t.Errorf("the second step ran RUN again: %v", made)
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
	want := "give it space below TMPDIR (" + disk + ") or on a volume of its own (setting state, PLUGIN_STATE)"
	if err == nil {
		t.Fatalf("it succeeded\n%s", out)
	}
	runnertest.CheckHas(t, "the log", string(out), want)
}

// The step with nothing replaced, among registries that each want another login: the base image
// and the cache are at one, and the image goes to two repositories of the other.
func TestStepReadsAndPushesByEachRegistrysLogin(t *testing.T) {
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
		t.Fatalf("got error %v\n%s", err, out)
	}
	runnertest.CheckLacks(t, "the log", string(out), "canary")
	e.Registry.Intercept(nil)
	other.Intercept(nil)
	switch got := greeting(
		t,
		e,
	); {
	case got != "hello\n":
		t.Errorf(
			"greeting %q, web at %q, cache at %q\n%s: want got \"hello\\n\"",
			got,
			runnertest.Digest(t, web+":latest"),
			runnertest.Digest(t, host+"/team/cache:app"),
			out,
		)
	case runnertest.Digest(t, web+":latest") != e.Registry.Tag("latest"):
		t.Errorf(
			"greeting %q, web at %q, cache at %q\n%s: want runnertest.Digest(t, web+\":latest\") %v",
			got,
			runnertest.Digest(t, web+":latest"),
			runnertest.Digest(t, host+"/team/cache:app"),
			out,
			e.Registry.Tag("latest"),
		)
	case runnertest.Digest(t, host+"/team/cache:app") == "":
		t.Errorf(
			"greeting %q, web at %q, cache at %q\n%s: want another runnertest.Digest(t, host+\"/team/cache:app\") than \"\"",
			got,
			runnertest.Digest(t, web+":latest"),
			runnertest.Digest(t, host+"/team/cache:app"),
			out,
		)
	}
	checkNothingLeft(t, cmd)

	e.Registry.Intercept(runnertest.RequireLogin("ci", "main-canary"))
	other.Intercept(runnertest.RequireLogin("robot", "base-canary"))
	out, err = stepCommand(t, dir, environ...).CombinedOutput()
	want := "no setting has a login for " + host
	if err == nil {
		t.Fatalf("it succeeded\n%s", out)
	}
	runnertest.CheckHas(t, "the log", string(out), want)
}

// From setting to RUN to log line: what is printed of a secret is masked, wherever it came from.
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
		t.Fatalf("got error %v\n%s", err, out)
	}
	runnertest.CheckLacks(t, "the log", string(out), "canary")
	for _, want := range []string{"secrets     doc, npm, file", "got **********", "args 1.2 1,2 via ****"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the log does not say %q:\n%s", want, out)
		}
	}
	checkNothingLeft(t, cmd)
}

// The program, a real BuildKit and a registry: a Git tag in each mode, a file .tags of an
// earlier step, and a branch that is left out.
func TestStepPushesTheTagsOfItsMode(t *testing.T) {
	needBuildKit(t)
	for _, c := range []struct {
		ref, files, want, says string
		environ                []string
	}{
		{ref: "refs/tags/v1.2.3", want: "1 1.2 1.2.3 latest", environ: []string{"PLUGIN_AUTO_TAG=true", "PLUGIN_AUTO_TAG_MODE=buildx"}, says: "pushed  1, 1.2, 1.2.3, latest"},
		{ref: "refs/heads/main", files: "5.2.6,5.2.4\n", want: "5.2.4 5.2.6", says: "5.2.6, 5.2.4 (.tags)"},
		{ref: "refs/heads/feature/x", want: "", environ: []string{"PLUGIN_AUTO-TAG=true"}, says: "skipped: "},
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
			t.Errorf("got error %v\n%s", err, out)
			continue
		}
		if got := e.Registry.Tags(); got != c.want {
			t.Errorf("Tags(): got %v, want %v", got, c.want)
		}
		runnertest.CheckHas(t, "the log", string(out), c.says)
		checkNothingLeft(t, cmd)
	}
}

// The step with nothing replaced: what its builder did not have to send to the first registry,
// which has the base image, is sent to the second.
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
	switch got := runnertest.Digest(
		t,
		host+"/acme/app:latest",
	); {
	case err != nil:
		t.Errorf("%v, the second is at %q\n%s: want no error", err, got, out)
	case got == "":
		t.Errorf("%v, the second is at %q\n%s: want another got than \"\"", err, got, out)
	case got != e.Registry.Tag("latest"):
		t.Errorf("%v, the second is at %q\n%s: want got %v", err, got, out, e.Registry.Tag("latest"))
	}
}

// From setting to RUN: a base image of Docker Hub comes from the mirror, and RUN has the name
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
		t.Fatalf("got error %v\n%s", err, out)
	}
	runnertest.CheckHas(t, "the log", string(out), "nameserver 10.9.8.7")
}

// shellWorkspace is a workspace whose Dockerfile has a shell.
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

// layered is an image of a layer, as this machine may run.
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
