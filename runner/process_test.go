package runner_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/urfave/cli/v3"

	"slipway/config/loopback"
	"slipway/config/must"
	"slipway/config/program"
	"slipway/config/secret"
	"slipway/runner"
	"slipway/runner/runnertest"
	"slipway/runner/sandbox"
	"slipway/runner/sandbox/server"
	"slipway/runner/spec"
)

// asCommand makes the test binary behave like the slipway binary. The arguments builder and runner have
// the same effect: a step starts its own builder and its hooks' guard with them.
const asCommand = "SLIPWAY_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	isChild := len(os.Args) > 1 && (os.Args[1] == "builder" || os.Args[1] == "runner")
	if os.Getenv(asCommand) == "" && !isChild {
		os.Exit(m.Run())
	}
	os.Exit(
		program.Run(
			&cli.Command{Name: "slipway", Commands: []*cli.Command{runner.Command(""), server.Command()}},
			runner.Bare(os.Args, os.Environ()),
		),
	)
}

// unprivileged is the id of a user without rights. Embedded runners have such a user if the gateway is
// root.
const unprivileged = 64000

// This test replaces nothing: BuildKit is a process, and the runner is a process of another user, with
// the environment of an engine.
func TestRunnerProcessBuildsWithBuildKit(t *testing.T) {
	if mode := sandbox.Probe(t.Context(), sandbox.ProbeOptions{})[0]; !mode.OK || os.Geteuid() != 0 {
		t.Skip("SKIPPED: needs root and a machine that BuildKit can run on: " + mode.Fix)
	}
	if _, err := exec.LookPath("runc"); err != nil {
		t.Skip("SKIPPED: needs runc, which is absent (Debian: apt-get install runc)")
	}
	e := newEnv(t)
	dir := openDir(t)
	address := startBuilder(t)
	b := e.Push(map[string]string{
		"svc/Dockerfile": "FROM scratch AS files\nCOPY greeting /g\nFROM scratch\nARG WHO\nLABEL who=$WHO\nCOPY --from=files /g /greeting\n",
		"greeting":       "hello\n",
		// S1: a hook is the same user as the runner and still cannot read the runner's token.
		runnertest.Hook("post_checkout"): "#!/bin/sh\nid -u\ncat /proc/$PPID/environ /proc/$PPID/mem 2>&1 | head -c 300; true\n",
	})
	e.Edit = func(s *spec.Spec) { s.BuildArgs = map[string]string{"WHO": "world"} }
	token := e.Gateway.Start(b)
	if err := os.Chown(dir, unprivileged, unprivileged); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "runner")
	cmd.Env = []string{
		asCommand + "=1",
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + dir,
		"TMPDIR=" + dir,
		"SLIPWAY_RUNNER_URL=" + e.Gateway.BuildURL(b.ID),
		"SLIPWAY_RUNNER_TOKEN=" + token,
		"SLIPWAY_BUILDER=" + address,
		"SLIPWAY_RUNNER_HOOKS=on",
		"SLIPWAY_WORKDIR=" + dir,
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: unprivileged, Gid: unprivileged}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("slipway runner: %v\n%s", err, out)
	}
	got := e.mustHaveSucceeded(b)
	if tag := e.Registry.Tag("latest"); tag != got.Result.Digest {
		t.Errorf("tag latest: got %v, want %v", tag, got.Result.Digest)
	}
	if got.Result.Size == 0 {
		t.Error("size: got 0, want the size of the image")
	}
	log := e.Log(b)
	runnertest.CheckHas(t, "the log", log, fmt.Sprint(unprivileged))
	runnertest.CheckHas(t, "the log", log, "Permission denied")
	runnertest.CheckLacks(t, "the log", log, token)
	runnertest.CheckLacks(t, "the log", log, "SLIPWAY_RUNNER_URL")
	if !bytes.Contains(out, []byte("COPY")) {
		t.Errorf("log: got:\n%s\nwant COPY in it", out)
	}
	if got := greeting(t, e); got != "hello\n" {
		t.Errorf("greeting: got %q, want %q", got, "hello\n")
	}
}

// A plugin step of a CI has only settings: no arguments and no builder. It starts a builder and ends it.
// Hooks find the token under neither of its names.
func TestPluginStepOfAGatewayBuildsWithItsOwnBuilder(t *testing.T) {
	needBuildKit(t)
	e := newEnv(t)
	b := e.Push(map[string]string{
		"svc/Dockerfile":                 "FROM scratch\nCOPY greeting /greeting\n",
		"greeting":                       "hello\n",
		runnertest.Hook("post_checkout"): "#!/bin/sh\nenv\n",
	})
	token := e.Gateway.Start(b)
	cmd := stepCommand(
		t,
		t.TempDir(),
		"PLUGIN_RUNNER_URL="+e.Gateway.BuildURL(b.ID),
		"PLUGIN_RUNNER_TOKEN="+token,
		"PLUGIN_RUNNER_HOOKS=on",
		"PLUGIN_BUILDER=",
	)
	cmd.Args = cmd.Args[:1]
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("slipway: %v\n%s", err, out)
	}
	got := e.mustHaveSucceeded(b)
	if tag := e.Registry.Tag("latest"); tag != got.Result.Digest {
		t.Errorf("tag latest: got %v, want %v", tag, got.Result.Digest)
	}
	if got := greeting(t, e); got != "hello\n" {
		t.Errorf("greeting: got %q, want %q", got, "hello\n")
	}
	log := e.Log(b)
	runnertest.CheckLacks(t, "the log", log+string(out), token)
	runnertest.CheckLacks(t, "the log", log, "PLUGIN_RUNNER_TOKEN")
	checkNothingLeft(t, cmd)
}

// The step's settings name a builder on another machine. The gateway sends the certificate for it.
func TestStepOfAGatewayBuildsOnARemoteBuilder(t *testing.T) {
	needBuildKit(t)
	e := newEnv(t)
	b := e.Push(map[string]string{"svc/Dockerfile": "FROM scratch\nCOPY greeting /greeting\n", "greeting": "hello\n"})
	address, pem := remoteBuilder(t)
	e.Edit = func(s *spec.Spec) { s.BuilderTLS = secret.New(pem) }
	out, err := stepCommand(
		t,
		t.TempDir(),
		"PLUGIN_RUNNER_URL="+e.Gateway.BuildURL(b.ID),
		"PLUGIN_RUNNER_TOKEN="+e.Gateway.Start(b),
		"PLUGIN_BUILDER="+address,
	).CombinedOutput()
	if err != nil {
		t.Fatalf("slipway runner: %v\n%s", err, out)
	}
	e.mustHaveSucceeded(b)
	if greeting(t, e) != "hello\n" {
		t.Error("greeting: got another text, want hello")
	}
}

// remoteBuilder starts `slipway builder` on TCP. It returns its address and the client's certificate.
func remoteBuilder(t *testing.T) (address, pem string) {
	t.Helper()
	dir := openDir(t)
	keys := exec.Command("/proc/self/exe", "builder", "keys", filepath.Join(dir, "keys"), "--host", "127.0.0.1")
	keys.Env = append(os.Environ(), asCommand+"=1")
	if out, err := keys.CombinedOutput(); err != nil {
		t.Fatalf("make the keys: %v\n%s", err, out)
	}
	address = "tcp://" + must.Get[string](t)(loopback.FreeAddress(t.Context()))
	serveBuilder(
		t,
		"--state",
		filepath.Join(dir, "state"),
		"--address",
		address,
		"--tls",
		filepath.Join(dir, "keys", "server.pem"),
	)
	text, err := os.ReadFile(filepath.Join(dir, "keys", "client.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return address, string(text)
}

// openDir returns a directory that other users can open.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "slipway-runner-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil { // hooks may run as another user
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// startBuilder starts `slipway builder` on a socket for the unprivileged user.
func startBuilder(t *testing.T) (address string) {
	t.Helper()
	state := openDir(t)
	if err := os.Chmod(state, 0o711); err != nil {
		t.Fatal(err)
	}
	address = "unix://" + filepath.Join(state, "builder.sock")
	serveBuilder(
		t,
		"--state",
		filepath.Join(state, "state"),
		"--address",
		address,
		"--socket-group",
		fmt.Sprint(unprivileged),
	)
	return address
}

// serveBuilder runs `slipway builder` until the test ends and waits until it is ready.
func serveBuilder(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", append([]string{"builder", "--network", "none"}, args...)...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	read, write := io.Pipe()
	cmd.Stdout, cmd.Stderr = write, write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		write.CloseWithError(cmd.Wait())
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
	})
	lines := bufio.NewScanner(read)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "builder is ready") {
			go func() { _, _ = io.Copy(io.Discard, read) }()
			return
		}
	}
	t.Fatal("builder: got no start in time, want one")
}

// greeting returns the file /greeting of the image with the tag latest.
func greeting(t *testing.T, e *env) string {
	t.Helper()
	ref, err := name.NewTag(e.Registry.Image() + ":latest")
	if err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	content := mutate.Extract(img)
	defer content.Close()
	files := tar.NewReader(content)
	for {
		file, err := files.Next()
		if err != nil {
			t.Fatalf("find greeting in the image: %v", err)
		}
		if file.Name == "greeting" {
			text, err := io.ReadAll(io.LimitReader(files, 1<<10))
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
	}
}
