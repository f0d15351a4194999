package gitproxy_test

import (
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"slipway/plugin/bitbucket/bitbuckettest/faults"
	"slipway/runner/source"
)

func TestFetchOfAPrivateRepository(t *testing.T) {
	e := newEnv(t)
	tree, err := e.fetch()
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join(tree.Dir, ".git/config"))
	e.must(err)
	if want := "url = " + e.repo.CloneURL() + "\n"; !strings.Contains(string(config), want) {
		t.Errorf("configuration: got\n%s\nwant %q in it", config, want)
	}
	secrets := []string{e.token, e.current()}
	err = filepath.WalkDir(filepath.Dir(tree.Dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		for _, s := range secrets {
			if strings.Contains(string(text), s) {
				t.Errorf("%s: got a token in it, want none", path)
			}
		}
		return err
	})
	e.must(err)
	for _, s := range secrets {
		if strings.Contains(e.log.String(), s) {
			t.Errorf("gateway's log: got a token in it, want none")
		}
	}
	for _, r := range e.upstream() {
		user, password, _ := r.BasicAuth()
		if user != "x-token-auth" {
			t.Errorf("%s %s: got user %q, want x-token-auth", r.Method, r.URL.Path, user)
		}
		if password != e.current() {
			t.Errorf("password of %s %s: got another one, want the account's token", r.Method, r.URL.Path)
		}
		if got := r.Header.Get("Git-Protocol"); got != "version=2" {
			t.Errorf("%s: got Git-Protocol %q, want version=2", r.URL.Path, got)
		}
	}
	if got := len(e.upstream()); got < 2 {
		t.Errorf("upstream requests: got %d, want at least 2", got)
	}
}

// git clones, deepens and fetches tags with all protocol versions.
func TestGitWorksThroughTheProxy(t *testing.T) {
	e := newEnv(t)
	for i := range 30 {
		e.commit = e.push(map[string]string{"n": fmt.Sprint(i)})
	}
	e.must(e.repo.Tag(t.Context(), "v1", e.commit, "One"))
	for _, version := range []string{"0", "1", "2"} {
		work := filepath.Join(t.TempDir(), "work")
		steps := [][]string{
			{"-c", "protocol.version=" + version, "clone", "-q", "--depth=1", e.url(), work},
			{"-c", "protocol.version=" + version, "-C", work, "fetch", "-q", "--unshallow"},
			{"-c", "protocol.version=" + version, "-C", work, "fetch", "-q", "--tags"},
			{"-C", work, "rev-parse", "--verify", "-q", "v1^{commit}"},
		}
		for _, args := range steps {
			if out, err := e.git(args...); err != nil {
				t.Fatalf("version %s: git %v: %v\n%s", version, args, err, out)
			}
		}
		if out, _ := e.git("-C", work, "rev-list", "--count", "HEAD"); strings.TrimSpace(out) != "31" {
			t.Errorf("version %s: got %s commits, want 31", version, out)
		}
	}
}

// git compresses a large negotiation with gzip. The proxy must forward it unchanged.
func TestPackedNegotiationsPass(t *testing.T) {
	e := newEnv(t)
	for i := range 40 { // each becomes a line of what is wanted
		commit := e.push(map[string]string{"n": fmt.Sprint(i)})
		e.must(e.repo.Tag(t.Context(), fmt.Sprint("v", i), commit, "A tag"))
	}
	work := t.TempDir()
	for _, args := range [][]string{{"init", "-q", work}, {"-C", work, "fetch", "-q", e.url(), "+refs/tags/*:refs/tags/*"}} {
		if out, err := e.git(args...); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	packed := 0
	for _, r := range e.upstream() {
		if r.Header.Get("Content-Encoding") == "gzip" {
			packed++
		}
	}
	if packed == 0 {
		t.Error("gzip bodies at the upstream: got none, want at least 1")
	}
}

func TestPushIsRefused(t *testing.T) {
	e := newEnv(t)
	work := filepath.Join(t.TempDir(), "work")
	if out, err := e.git("clone", "-q", e.url(), work); err != nil {
		t.Fatalf("clone: %v\n%s", err, out)
	}
	_, _ = e.git("-C", work, "commit", "-q", "--allow-empty", "-m", "x")
	out, err := e.git("-C", work, "push", "origin", "HEAD:refs/heads/other")
	if err == nil || !strings.Contains(out, "only git fetch of the build's own repository is served here") {
		t.Errorf("push: got %v\n%s\nwant a refusal with its reason", err, out)
	}
}

func TestAnEndedTokenIsRenewedOnce(t *testing.T) {
	e := newEnv(t)
	before := e.current()
	e.server.ExpireTokens()
	if _, err := e.fetch(); err != nil {
		t.Fatalf("fetch with an expired token: %v", err)
	}
	if e.current() == before {
		t.Error("token: got the old one, want a renewed one")
	}
	unauthorized := e.faults.Add(
		faults.Rule{Path: "/acme/app.git/info/refs", Fault: faults.Status(http.StatusUnauthorized, "no")},
	)
	resp := e.do(http.MethodGet, refs, nil)
	if resp.StatusCode != http.StatusBadGateway {
		t.Errorf("a token that stays refused: got status %d, want 502", resp.StatusCode)
	}
	if got := unauthorized.Hits(); got != 2 {
		t.Errorf("upstream requests: got %d, want 2: one renewal", got)
	}
}

// After a grant was revoked, the build's log has the fix, and git does not prompt for a password.
func TestARevokedGrantAsksForALink(t *testing.T) {
	e := newEnv(t)
	e.server.RevokeGrant(e.alice, e.consumer)
	_, err := e.fetch()
	if err == nil {
		t.Fatal("fetch: got nil, want ErrRelink")
	}
	for _, part := range []string{source.ErrRelink.Error(), "link the account again"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("fetch: got %v, want %q in the error", err, part)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, h := range e.answered {
		if h.Get("WWW-Authenticate") != "" {
			t.Errorf("WWW-Authenticate: got %q, want none", h.Get("WWW-Authenticate"))
		}
	}
}

func TestARenamedRepositoryIsFound(t *testing.T) {
	e := newEnv(t)
	e.repo.Rename("renamed")
	if _, err := e.fetch(); err != nil {
		t.Fatalf("fetch after a rename: %v", err)
	}
	b, err := e.store.Build(t.Context(), e.build.ID)
	e.must(err)
	if b.Repository.FullName != "acme/renamed" {
		t.Errorf("name: got %s, want acme/renamed", b.Repository.FullName)
	}
}

// The proxy does not follow a redirect, because that would forward the credential.
func TestRedirectsAreNotFollowed(t *testing.T) {
	e := newEnv(t)
	var asked atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer other.Close()
	e.faults.Add(
		faults.Rule{Path: "/acme/app.git/**", Fault: func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			http.Redirect(w, r, other.URL+r.URL.String(), http.StatusMovedPermanently)
		}},
	)
	resp := e.do(http.MethodGet, refs, nil)
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("status: got %d, want 404", resp.StatusCode)
	}
	if got := resp.Header.Get("Location"); got != "" {
		t.Errorf("Location: got %q, want none", got)
	}
	if got := asked.Load(); got != 0 {
		t.Errorf("requests at the target: got %d, want 0", got)
	}
}

func TestUpstreamStatuses(t *testing.T) {
	for name, tt := range map[string]struct {
		fault  faults.Fault
		path   string
		status int
		after  bool
	}{
		"rate limit": {faults.RateLimited("7"), refs, http.StatusServiceUnavailable, true},
		"forbidden":  {faults.Status(http.StatusForbidden, "no"), refs, http.StatusNotFound, false},
		"error page": {
			faults.HTML(http.StatusInternalServerError), refs, http.StatusServiceUnavailable, true,
		},
		"dumb protocol": {
			faults.Status(http.StatusOK, "abc\trefs/heads/main\n"), refs, http.StatusBadGateway, false,
		},
		"retired credential": {faults.Status(http.StatusGone, "CHANGE-3222"), refs, http.StatusBadGateway, false},
		"connection reset":   {faults.ResetBefore(), refs, http.StatusServiceUnavailable, true},
		"a token ends in a POST": {
			faults.Status(http.StatusUnauthorized, "no"), pack, http.StatusServiceUnavailable, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			script := e.faults.Add(faults.Rule{Path: "/acme/app.git/**", Fault: tt.fault})
			method := http.MethodGet
			if tt.path == pack {
				method = http.MethodPost
			}
			resp := e.do(method, tt.path, []byte("0000"))
			if resp.StatusCode != tt.status {
				body, _ := io.ReadAll(resp.Body)
				t.Errorf("status: got %d %s, want %d", resp.StatusCode, body, tt.status)
			}
			if got := resp.Header.Get("Retry-After") != ""; got != tt.after {
				t.Errorf("Retry-After: got %t, want %t", got, tt.after)
			}
			if tt.path == pack && script.Hits() != 1 {
				t.Errorf("upstream requests: got %d, want 1: a POST is not repeated", script.Hits())
			}
		})
	}
}
