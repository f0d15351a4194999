package buildkit_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/urfave/cli/v3"

	"slipway/config/identity"
	"slipway/runner/buildkit"
	"slipway/runner/sandbox"
	"slipway/runner/sandbox/server"
)

// asCommand makes the test binary behave like the slipway binary, because the server starts itself
// again in its namespaces. The argument builder has the same effect: a Child starts with it.
const asCommand = "SLIPWAY_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if socket := os.Getenv(asExec); socket != "" {
		os.Exit(dialStdio(socket))
	}
	if address := os.Getenv(asClient); address != "" {
		os.Exit(buildAlone(address, os.Args[1]))
	}
	if os.Getenv(asCommand) == "" && (len(os.Args) < 2 || os.Args[1] != "builder") {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	app := &cli.Command{
		Name:           "slipway",
		Commands:       []*cli.Command{server.Command()},
		ExitErrHandler: func(context.Context, *cli.Command, error) {},
	}
	err := app.Run(ctx, os.Args)
	stop()
	if err == nil {
		os.Exit(0)
	}
	if err.Error() != "" {
		fmt.Fprintln(os.Stderr, "slipway:", err)
	}
	if coder, ok := err.(cli.ExitCoder); ok { //nolint:errorlint // as main does
		os.Exit(coder.ExitCode())
	}
	os.Exit(1)
}

// needBuildKit skips the test with the reason if BuildKit cannot run here.
func needBuildKit(t *testing.T) {
	t.Helper()
	if mode := sandbox.Probe(t.Context(), sandbox.ProbeOptions{})[0]; !mode.OK {
		t.Skip("SKIPPED: no real builds here: " + mode.Fix)
	}
	if _, err := exec.LookPath("runc"); err != nil {
		t.Skip("SKIPPED: real builds need runc, which is absent (Debian: apt-get install runc)")
	}
}

// needRoot skips a test that needs root.
func needRoot(t *testing.T) {
	t.Helper()
	needBuildKit(t)
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: this test needs root, which is absent")
	}
}

// busybox returns a static shell for images.
func busybox(t *testing.T) string {
	t.Helper()
	for _, path := range []string{"/bin/busybox", "/usr/bin/busybox"} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Skip("SKIPPED: RUN steps need a static shell, which is absent (Debian: apt-get install busybox-static)")
	return ""
}

// A running server is `slipway builder` as a separate process.
type running struct {
	cmd     *exec.Cmd
	state   string
	address string
	log     *syncBuffer
	exited  chan error
}

// start starts a builder and waits until it answers.
func start(t *testing.T, state string, flags ...string) *running {
	t.Helper()
	s := launch(t, state, flags...)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	if err := await(ctx, s); err != nil {
		t.Fatalf("dial the builder: %v\n%s", err, s.log)
	}
	return s
}

func launch(t *testing.T, state string, flags ...string) *running {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &running{state: state, address: "unix://" + state + ".sock", log: &syncBuffer{}, exited: make(chan error, 1)}
	args := append([]string{"builder", "--state", state, "--address", s.address, "--network", "none"}, flags...)
	s.cmd = exec.Command(self, args...)
	s.cmd.Env = append(os.Environ(), asCommand+"=1")
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.exited <- s.cmd.Wait() }()
	t.Cleanup(func() { _ = s.stop(t) })
	return s
}

// await dials until the server answers or ends.
func await(ctx context.Context, s *running) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if strings.Contains(s.log.String(), "builder is ready") {
			c, err := buildkit.Dial(ctx, s.address, identity.Identity{})
			if err != nil {
				return err
			}
			return c.Close()
		}
		select {
		case err := <-s.exited:
			s.exited <- err
			return fmt.Errorf("the server ended: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// stop sends SIGTERM to the server, and fails the test if the server does not end.
func (s *running) stop(t *testing.T) error {
	t.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	return s.wait(t, 20*time.Second)
}

func (s *running) wait(t *testing.T, atMost time.Duration) error {
	t.Helper()
	select {
	case err := <-s.exited:
		s.exited <- err
		return err
	case <-time.After(atMost):
		_ = s.cmd.Process.Kill()
		t.Errorf("builder: got no end within %s, want one\n%s", atMost, s.log)
		return context.DeadlineExceeded
	}
}

func (s *running) dial(t *testing.T) *buildkit.Client {
	t.Helper()
	c, err := buildkit.Dial(t.Context(), s.address, identity.Identity{})
	if err != nil {
		t.Fatalf("dial: %v\n%s", err, s.log)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// syncBuffer is a bytes.Buffer that a process writes and a test reads.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// serveRegistry starts a registry in memory and returns its host.
func serveRegistry(t *testing.T) string {
	t.Helper()
	r := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(r.Close)
	return strings.TrimPrefix(r.URL, "http://")
}

// write makes a directory of files and returns it.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for path, text := range files {
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// withShell adds busybox to a context, so that its Dockerfile can begin with shellStage.
func withShell(t *testing.T, dir string) string {
	t.Helper()
	data, err := os.ReadFile(busybox(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "busybox"), data, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// shellStage is a stage with a shell. It needs no registry.
const shellStage = "FROM scratch AS shell\nCOPY --chmod=755 busybox /bin/sh\nCOPY --chmod=755 busybox /bin/busybox\nENV PATH=/bin\n"

func request(dir string) buildkit.Request {
	return buildkit.Request{Context: dir, Dockerfile: filepath.Join(dir, "Dockerfile"), SharedKey: dir}
}

// pull reads an image from its registry by digest.
func pull(t *testing.T, image, digest string) v1.Image {
	t.Helper()
	ref, err := name.NewDigest(image + "@" + digest)
	if err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(ref)
	if err != nil {
		t.Fatalf("pull %s: %v", ref, err)
	}
	return img
}

func tags(t *testing.T, image string) []string {
	t.Helper()
	repo, err := name.NewRepository(image)
	if err != nil {
		t.Fatal(err)
	}
	all, err := remote.List(repo)
	if err != nil {
		return nil
	}
	return all
}

func labels(t *testing.T, img v1.Image) map[string]string {
	t.Helper()
	raw, err := img.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Config struct{ Labels map[string]string }
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		t.Fatal(err)
	}
	return config.Config.Labels
}

// tagAs points a tag of a registry at a digest.
func tagAs(t *testing.T, image, digest, tag string) {
	t.Helper()
	ref, err := name.NewDigest(image + "@" + digest)
	if err != nil {
		t.Fatal(err)
	}
	what, err := remote.Get(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Tag(ref.Context().Tag(tag), what); err != nil {
		t.Fatal(err)
	}
}

// files returns the regular files of an image, by path. It reads the image from its registry.
func files(t *testing.T, image, digest string) map[string]string {
	t.Helper()
	all := map[string]string{}
	content := mutate.Extract(pull(t, image, digest))
	defer content.Close()
	for archive := tar.NewReader(content); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		all[header.Name] = string(data)
	}
}
