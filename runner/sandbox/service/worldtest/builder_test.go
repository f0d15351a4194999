package worldtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	logrustest "github.com/sirupsen/logrus/hooks/test"

	"slipway/config/buildservice"
	"slipway/config/identity"
	"slipway/config/must"
	"slipway/config/netpolicy"
	"slipway/runner/buildkit"
	"slipway/runner/sandbox"
	"slipway/runner/sandbox/domains"
	"slipway/runner/sandbox/service"
	"slipway/runner/spec"
)

// newBuilder starts the builder of a domain, with a network of its own or in the machine's. The log has
// its output.
func (w world) newBuilder(t *testing.T, own bool, args ...string) (*buildkit.Client, *logrustest.Hook) {
	t.Helper()
	return w.newBuilderWith(t, own, netpolicy.Policy{}, args...)
}

// newBuilderWith is like newBuilder, with a policy.
func (w world) newBuilderWith(
	t *testing.T, own bool, policy netpolicy.Policy, args ...string,
) (*buildkit.Client, *logrustest.Hook) {
	t.Helper()
	if mode := sandbox.Probe(t.Context(), sandbox.ProbeOptions{})[0]; !mode.OK {
		t.Skip("SKIPPED: no real builds here: " + mode.Fix)
	}
	log, hook := logrustest.NewNullLogger()
	dir := must.Get[string](t)(os.MkdirTemp("", "world-")) // the names of sockets have a limit
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	o := domains.Options{
		Executable: "/proc/self/exe",
		Dir:        dir,
		Args: append([]string{
			"--local-registry", w.registry, "--insecure-registry", publicAddress + ":80",
			"--insecure-registry", private + ":80", "--limits=false",
		}, append(service.PolicyArgs(policy), args...)...),
		Environ: []string{"PATH=" + os.Getenv("PATH")},
		Idle:    time.Minute,
		Log:     log,
	}
	if own {
		registry := must.Get[buildservice.LocalRegistry](t)(buildservice.ParseLocalRegistry(w.registry))
		networks := service.BuilderNetworks{
			ResolvConf: w.resolvConf, Policy: policy, Registries: []buildservice.LocalRegistry{registry}, Log: log,
		}
		o.Network = networks.Open
	}
	supervisor := domains.New(o)
	t.Cleanup(supervisor.Close)
	address := must.Get[string](t)(supervisor.Address(t.Context(), "a"))
	client := must.Get[*buildkit.Client](t)(buildkit.Dial(t.Context(), address, identity.Identity{}))
	t.Cleanup(func() { _ = client.Close() })
	return client, hook
}

// build builds a Dockerfile, and returns its log.
func build(ctx context.Context, t *testing.T, client *buildkit.Client, image, dockerfile string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	must.Succeed(t, os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o600))
	if shell, err := os.ReadFile("/bin/busybox"); err == nil {
		must.Succeed(t, os.WriteFile(filepath.Join(dir, "busybox"), shell, 0o755))
	}
	var log bytes.Buffer
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_, err := client.Build(ctx, buildkit.Request{
		Context: dir, Dockerfile: filepath.Join(dir, "Dockerfile"), Image: image, Publish: image != "", Progress: &log,
	})
	return log.String(), err
}

// attacks are Dockerfiles whose sources a build must not reach.
var attacks = map[string]struct{ dockerfile, message string }{
	"git":                  {"ADD git://" + metadata + "/repo.git#main /", ""},
	"git, by a name":       {"ADD git://evil.test/repo.git#main /", ""},
	"git on the machine":   {"ADD git://" + machineAddress + ":80/repo.git#main /", ""},
	"HTTP":                 {"ADD http://" + metadata + "/secret /", "ADD may not fetch from " + metadata},
	"HTTP, by a name":      {"ADD http://evil.test/secret /", "ADD may not fetch from evil.test"},
	"HTTP, by a redirect":  {"ADD http://" + publicAddress + "/redirect /", "ADD may not fetch from " + metadata},
	"HTTP on the machine":  {"ADD http://" + machineAddress + "/ /", "ADD may not fetch from " + machineAddress},
	"HTTP on the loopback": {"ADD http://127.0.0.1:1/ /", "ADD may not fetch from 127.0.0.1"},
	"a registry":           {"COPY --from=" + metadata + ":80/a:1 / /", "builds may not connect to " + metadata},
	"a token server":       {"COPY --from=" + publicAddress + ":80/a:1 / /", "builds may not connect to " + metadata},
	"an unknown host":      {"ADD http://absent.test/ /", "no such host"},
	"an unknown registry":  {"COPY --from=absent.test/a:1 / /", "no such host"},
}

// A refused source is an error of the Dockerfile: a retry would not help.
func TestABuildersOwnTrafficIsFiltered(t *testing.T) {
	w := newWorld(t)
	client, _ := w.newBuilder(t, true, "--network", "none")
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			log, err := build(t.Context(), t, client, "", "FROM scratch\n"+attack.dockerfile+"\n")
			var failed *buildkit.BuildError
			if !errors.As(err, &failed) {
				t.Fatalf("got error %v, want a BuildError; log:\n%s", err, log)
			}
			if !strings.Contains(err.Error(), attack.message) {
				t.Errorf("error: got %q, want %q in it", err, attack.message)
			}
		})
	}
}

// A push or a cache may name its registry insecure. BuildKit then has other clients for it, which must not be a way
// past the policy.
func TestAnInsecureRegistryIsFiltered(t *testing.T) {
	w := newWorld(t)
	client, _ := w.newBuilder(t, true, "--network", "none")
	const image = metadata + ":80/a"
	cache := spec.Cache{Type: spec.CacheRegistry, Attrs: map[string]string{"ref": image, "registry.insecure": "true"}}
	dir := t.TempDir()
	must.Succeed(t, os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM scratch\nCOPY Dockerfile /\n"), 0o600))
	for name, r := range map[string]buildkit.Request{
		"a push": {
			Image: image, Publish: true,
			Registries: []spec.RegistryCredential{{Host: metadata + ":80", Insecure: true}},
		},
		"a cache to write": {Options: spec.BuildOptions{CacheTo: []spec.Cache{cache}}},
		"a cache to read":  {Options: spec.BuildOptions{CacheFrom: []spec.Cache{cache}}},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			r.Context, r.Dockerfile, r.Progress = dir, filepath.Join(dir, "Dockerfile"), &log
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := client.Build(ctx, r)
			// The client pushes an image that the builder cannot push, and a build goes on without a cache.
			if said := fmt.Sprint(log.String(), err); !strings.Contains(said, "builds may not connect to "+metadata) {
				t.Errorf("got error %v and the log below, want a refusal of %s\n%s", err, metadata, log.String())
			}
		})
	}
}

// Without a network of its own, git reaches the attack's addresses. So the test above shows that the filter
// refuses them, not that they are absent.
func TestWithoutTheFilterGitReachesTheMetadataService(t *testing.T) {
	w := newWorld(t)
	client, _ := w.newBuilder(t, false, "--network", "none")
	if log, err := build(t.Context(), t, client, "", "FROM scratch\n"+attacks["git"].dockerfile+"\n"); err != nil {
		t.Errorf("got error %v, want none; log:\n%s", err, log)
	}
}

func TestABuilderReachesTheInternetAndItsRegistry(t *testing.T) {
	w := newWorld(t)
	client, hook := w.newBuilder(t, true)
	image := w.registry + "/a"
	dockerfile := "FROM scratch\nADD git://public.test/repo.git#main /git\nADD http://public.test/file /file\n"
	const busybox = `RUN ["/bin/busybox", `
	run := "COPY busybox /bin/busybox\n" +
		busybox + `"nc", "-w", "5", "` + publicAddress + `", "80"]` + "\n" +
		busybox + `"grep", "nameserver 198.18.0.1", "/etc/resolv.conf"]` + "\n"
	log, err := build(t.Context(), t, client, image, dockerfile+run)
	if err != nil {
		t.Fatalf("build: got error %v, want none; log:\n%s", err, log)
	}
	uses := false
	for _, entry := range hook.AllEntries() {
		uses = uses || strings.Contains(entry.Message, "RUN steps use network cni")
	}
	if !uses {
		t.Error("network of RUN steps: got another one, want cni")
	}
	for _, address := range []string{metadata, machineAddress, "198.18.0.2"} {
		step := busybox + `"nc", "-w", "2", "` + address + `", "80"]` + "\n"
		log, err := build(t.Context(), t, client, "", "FROM scratch\nCOPY busybox /bin/busybox\n"+step)
		if err == nil {
			t.Errorf("RUN to %s: got no error, want one; log:\n%s", address, log)
		}
	}
}
