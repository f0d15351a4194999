package gitproxy_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config/secret"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/bitbucket/bitbuckettest/faults"
	"slipway/runner/attemptca"
	"slipway/runner/attemptserver"
	"slipway/runner/gitrelay"
)

// relayEnv is an lfsEnv with the relay through which build hooks reach the proxy. The relay has its own host
// name and a certificate of the attempt's authority.
type relayEnv struct {
	*lfsEnv
	origin string // the repository's address at the relay
	bundle string // file that holds the authority
	log    *lockedBuffer
	end    context.CancelFunc // of the attempt, for the relay
}

func newRelay(t *testing.T) *relayEnv {
	t.Helper()
	e := &relayEnv{lfsEnv: newLFS(t), log: &lockedBuffer{}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	e.must(err)
	authority, err := attemptca.New([]string{"127.0.0.1"}, time.Now().Add(time.Hour))
	e.must(err)
	config, err := authority.TLSConfig("127.0.0.1")
	e.must(err)
	e.bundle = filepath.Join(t.TempDir(), "ca.pem")
	e.must(os.WriteFile(e.bundle, authority.PEM(), 0o600))
	e.origin = "https://" + listener.Addr().String() + "/acme/app.git"
	address, err := url.Parse(e.url())
	e.must(err)
	log := logrus.New()
	log.SetOutput(e.log)
	attempt, end := context.WithCancel(t.Context())
	e.end = end
	relay, err := gitrelay.New(attempt, gitrelay.Options{
		Host: listener.Addr().String(), Path: "acme/app", Gateway: address, Token: secret.New(e.token),
		Transport: http.DefaultTransport, Log: log,
	})
	e.must(err)
	served := make(chan error, 1)
	go func() { served <- attemptserver.Serve(attempt, listener, config, relay, log) }()
	t.Cleanup(func() {
		end()
		if err := <-served; err != nil {
			t.Errorf("Serve: got error %v, want none", err)
		}
		if strings.Contains(e.log.String(), e.token) {
			t.Errorf("relay's log: got the token in it, want none:\n%s", e.log)
		}
	})
	return e
}

func (e *relayEnv) wantNoSecret(where, text string) {
	e.t.Helper()
	for _, s := range []string{e.token, e.current()} {
		if s != "" && strings.Contains(text, s) {
			e.t.Errorf("%s: got a token in it, want none:\n%s", where, text)
		}
	}
}

// hook runs git like a build hook: without settings and without a credential.
func (e *relayEnv) hook(args ...string) (string, error) {
	e.t.Helper()
	cmd := exec.CommandContext(e.t.Context(), "git", args...)
	cmd.Env = []string{
		"PATH=" + os.Getenv(
			"PATH",
		),
		"HOME=" + e.t.TempDir(),
		"LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0",
		"GIT_SSL_CAINFO=" + e.bundle,
		"SSL_CERT_FILE=" + e.bundle,
	}
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	e.wantNoSecret("git's output", string(out))
	return string(out), err
}

func (e *relayEnv) ok(args ...string) string {
	e.t.Helper()
	out, err := e.hook(args...)
	if err != nil {
		e.t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return out
}

func (e *relayEnv) refused(message string, args ...string) {
	e.t.Helper()
	if out, err := e.hook(args...); err == nil || !strings.Contains(out, message) {
		e.t.Errorf("git %q: got %v, want an error with %q\n%s", args, err, message, out)
	}
}

// In a build hook, git without settings reaches the private repository through relay and proxy, with all
// kinds of fetches, and no other repository.
func TestGitThroughRelayAndProxy(t *testing.T) {
	e := newRelay(t)
	for i := range 3 {
		e.must(e.repo.Tag(t.Context(), fmt.Sprint("v", i), e.push(map[string]string{"n": fmt.Sprint(i)}), "A tag"))
	}
	for _, version := range []string{"0", "1", "2"} {
		work := filepath.Join(t.TempDir(), "work")
		e.ok("-c", "protocol.version="+version, "clone", "-q", "--depth=1", e.origin, work)
		e.server.ExpireTokens() // the gateway renews, and the hook sees nothing of it
		e.ok("-c", "protocol.version="+version, "-C", work, "fetch", "-q", "--unshallow")
		if got := strings.TrimSpace(e.ok("-C", work, "rev-list", "--count", "HEAD")); got != "4" {
			t.Errorf("version %s: got %s commits, want 4", version, got)
		}
		e.ok("-c", "protocol.version="+version, "-C", work, "fetch", "-q", "--tags")
		e.ok("-C", work, "rev-parse", "-q", "--verify", "v1^{commit}")
		e.refused("this build may only fetch acme/app", "-C", work, "push", e.origin, "HEAD:refs/heads/x")
	}
	other, err := e.server.AddRepository(e.acme, "secret", bitbuckettest.Private)
	e.must(err)
	e.refused(
		"this build may only fetch acme/app",
		"ls-remote",
		strings.Replace(e.origin, "acme/app", other.FullName(), 1),
	)
	e.ok("ls-remote", strings.TrimSuffix(e.origin, ".git"))
	e.repo.Rename("renamed")
	e.ok("ls-remote", e.origin) // origin keeps its name; the proxy knows the new one
	e.server.RevokeGrant(e.alice, e.consumer)
	e.refused("link the account again", "ls-remote", e.origin)
}

// git-lfs gets its objects through relay and proxy, with any .lfsconfig of the repository.
func TestLFSThroughRelayAndProxy(t *testing.T) {
	if _, err := exec.LookPath("git-lfs"); err != nil {
		t.Skip("SKIPPED: git-lfs is absent (Debian: apt-get install git-lfs)")
	}
	e := newRelay(t)
	content := strings.Repeat("large\n", 50000)
	oid := e.server.AddLFSObject([]byte(content))
	e.push(map[string]string{
		".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n",
		"a.bin": fmt.Sprintf(
			"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n",
			oid,
			len(content),
		),
	})
	work := filepath.Join(t.TempDir(), "work")
	filters := []string{"-c", "filter.lfs.process=git-lfs filter-process", "-c", "filter.lfs.required=true"}
	e.ok(append(filters, "clone", "-q", e.origin, work)...)
	got, err := os.ReadFile(filepath.Join(work, "a.bin"))
	e.must(err)
	if string(got) != content {
		t.Errorf("bytes: got %d, want the object's %d", len(got), len(content))
	}
	l := e.lfsEnv
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.stored {
		if h.Get("Authorization") != "" {
			t.Error("credential at the storage: got one, want none")
		}
	}
}

// When the attempt ends at the gateway, streams through relay and proxy end too. Later fetches return the
// reason.
func TestTheAttemptsEndCutsARelayedStream(t *testing.T) {
	e := newRelay(t)
	started, ended := make(chan struct{}), make(chan struct{})
	e.faults.Add(faults.Rule{Path: "/acme/app.git/info/refs", Times: 1, Fault: stream(0, started, ended)})
	cut := make(chan struct{})
	go func() {
		defer close(cut)
		if out, err := e.hook("ls-remote", e.origin); err == nil {
			t.Errorf("ls-remote: got its end, want a broken connection\n%s", out)
		}
	}()
	wait(t, "the stream's start", started)
	e.finish()
	wait(t, "the upstream request's end", ended)
	wait(t, "git's end", cut)
	e.idle(t)
	e.refused("the attempt has ended", "ls-remote", e.origin)
	e.end()
	e.refused("", "ls-remote", e.origin)
}
