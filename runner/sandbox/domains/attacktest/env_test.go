package attacktest

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	logrustest "github.com/sirupsen/logrus/hooks/test"

	"slipway/runner/sandbox"
	"slipway/runner/sandbox/domains"
)

// An env is the world of the attacks: a supervisor, a public and a private registry, and images.
type env struct {
	supervisor *domains.Supervisor
	dir        string // of the supervisor
	diskBytes  int64  // size of each domain's disk
	watchBytes int64  // limit of each domain without a disk
	reserve    int64  // free space that watched domains leave, in bytes
	log        *logrustest.Hook
	base       string // public image with a shell
	cache      string // repository that the attacker may write
	private    private
}

// A private image and the login that reads it. Its file /etc/note contains "confidential".
type private struct {
	repository, digest string
	login              login
}

// A login is the user of a registry.
type login struct{ host, user, password string }

func newEnv(t testing.TB) *env {
	t.Helper()
	needBuilder(t)
	shell := readShell(t)
	open := serve(t, newRegistry())
	e := &env{diskBytes: 1 << 30, base: open + "/base:1", cache: open + "/cache"}
	push(t, e.base, newImage(t, shell, "public"), authn.Anonymous)

	secret := login{user: "victim", password: "s3cret"}
	secret.host = serve(t, withLogin(newRegistry(), secret))
	e.private = private{repository: secret.host + "/private", login: secret}
	basic := &authn.Basic{Username: secret.user, Password: secret.password}
	e.private.digest = push(t, e.private.repository+":1", newImage(t, shell, "confidential"), basic)

	dir, err := os.MkdirTemp("", "attacks-") // the names of sockets have a limit, so not TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	e.dir = dir
	e.start(t)
	return e
}

// start starts the supervisor.
func (e *env) start(t testing.TB) {
	t.Helper()
	log, hook := logrustest.NewNullLogger()
	e.log = hook
	e.supervisor = domains.New(domains.Options{
		Executable: "/proc/self/exe",
		Dir:        e.dir,
		Args:       []string{"--network", "none"},
		Environ:    []string{"PATH=" + os.Getenv("PATH")},
		Idle:       time.Minute,
		Parallel:   64, // some attacks wait in a step until another build has run
		Log:        log,

		DiskBytes:   e.diskBytes,
		WatchBytes:  e.watchBytes,
		DiskReserve: e.reserve,
		ShareLayers: true,
	})
	t.Cleanup(e.supervisor.Close)
}

// restart ends the supervisor with its builders, and starts another one.
func (e *env) restart(t testing.TB) {
	t.Helper()
	e.supervisor.Close()
	e.start(t)
}

// address returns the address of a domain's builder.
func (e *env) address(t testing.TB, domain string) string {
	t.Helper()
	a, err := e.supervisor.Address(t.Context(), domain)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func needBuilder(t testing.TB) {
	t.Helper()
	if mode := sandbox.Probe(t.Context(), sandbox.ProbeOptions{})[0]; !mode.OK {
		t.Skip("SKIPPED: no real builds here: " + mode.Fix)
	}
	for _, program := range []string{"runc", "git"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("SKIPPED: the attacks need %[1]s, which is absent (Debian: apt-get install %[1]s)", program)
		}
	}
}

// readShell returns a static shell for images.
func readShell(t testing.TB) []byte {
	t.Helper()
	for _, p := range []string{"/bin/busybox", "/usr/bin/busybox"} {
		if data, err := os.ReadFile(p); err == nil {
			return data
		}
	}
	t.Skip("SKIPPED: RUN steps need a static shell, which is absent (Debian: apt-get install busybox-static)")
	return nil
}

// newImage returns an image with a shell and the file /etc/note.
func newImage(t testing.TB, shell []byte, note string) v1.Image {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	write := func(h tar.Header, data []byte) {
		t.Helper()
		h.Size = int64(len(data))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"bin/", "etc/", "proc/", "root/", "sys/", "tmp/"} {
		write(tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755}, nil)
	}
	write(tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755}, shell)
	write(tar.Header{Typeflag: tar.TypeReg, Name: "etc/note", Mode: 0o644}, []byte(note))
	for _, applet := range []string{"sh", "echo", "cat", "cp", "touch", "test", "grep", "sleep"} {
		write(tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + applet, Linkname: "busybox"}, nil)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(buf.Bytes())), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", "amd64"
	file.Config.Env = []string{"PATH=/bin"}
	if image, err = mutate.ConfigFile(image, file); err != nil {
		t.Fatal(err)
	}
	return image
}

// push pushes an image and returns its digest.
func push(t testing.TB, image string, content v1.Image, auth authn.Authenticator) string {
	t.Helper()
	ref, err := name.ParseReference(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, content, remote.WithAuth(auth)); err != nil {
		t.Fatal(err)
	}
	digest, err := content.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

func newRegistry() http.Handler { return registry.New(registry.Logger(log.New(io.Discard, "", 0))) }

func withLogin(next http.Handler, l login) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if user != l.user || password != l.password {
			w.Header().Set("WWW-Authenticate", `Basic realm="private"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// serve serves a handler on the loopback interface and returns its host.
func serve(t testing.TB, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// serveManifest serves one manifest with its config, and no layer. layers counts the requests for them.
func serveManifest(manifest, config []byte, mediaType, configDigest string, layers *int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/v2/":
		case path.Base(path.Dir(r.URL.Path)) == "manifests":
			w.Header().Set("Content-Type", mediaType)
			w.Header().Set("Content-Length", fmt.Sprint(len(manifest)))
			if r.Method == http.MethodGet {
				_, _ = w.Write(manifest)
			}
		case path.Base(r.URL.Path) == configDigest:
			_, _ = w.Write(config)
		default:
			*layers++
			http.NotFound(w, r)
		}
	})
}
