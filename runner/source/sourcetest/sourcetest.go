// Package sourcetest serves real git repositories over HTTP with git's own server and a password, for
// tests.
package sourcetest

import (
	"crypto/subtle"
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"slipway/config/secret"
	"slipway/runner/source"
	"slipway/runner/spec"
)

// A Remote is one repository, called app, with a work tree to commit in.
type Remote struct {
	*httptest.Server
	dir string

	mu     sync.Mutex
	public []string // prefixes of paths that need no password
	around func(w http.ResponseWriter, r *http.Request, next http.Handler)
}

// Password is the password of the server, with any user name, and the token of the proxy.
const Password = "git-canary"

// proxyPath is the path of the server's git proxy for the repository app, as a gateway's.
const proxyPath = "/git/b1"

// Proxy returns a git proxy that serves the repository app.
func (r *Remote) Proxy() source.Proxy {
	return source.Proxy{URL: r.URL + proxyPath, Token: secret.New(Password)}
}

// New makes an empty repository with the branch main.
func New(t testing.TB) *Remote {
	t.Helper()
	r := &Remote{dir: t.TempDir()}
	execPath, err := exec.CommandContext(t.Context(), "git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	backend := &cgi.Handler{
		Path:       filepath.Join(strings.TrimSpace(string(execPath)), "git-http-backend"),
		Root:       "/",
		Stderr:     io.Discard,
		Env:        []string{"GIT_PROJECT_ROOT=" + r.dir, "GIT_HTTP_EXPORT_ALL=1"},
		InheritEnv: []string{"PATH"},
	}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if rest, ok := strings.CutPrefix(req.URL.Path, proxyPath); ok {
			if req.Header.Get("Authorization") != "Bearer "+Password {
				http.Error(w, "this address needs the token of a running attempt", http.StatusForbidden)
				return
			}
			req.URL.Path = "/app/.git" + rest
		} else if _, p, _ := req.BasicAuth(); subtle.ConstantTimeCompare([]byte(p), []byte(Password)) == 0 && !r.isPublic(req.URL.Path) {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		r.serve(w, req, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			h := *backend
			h.Env = append([]string{"GIT_PROTOCOL=" + req.Header.Get("Git-Protocol")}, h.Env...)
			h.ServeHTTP(w, req)
		}))
	}))
	t.Cleanup(r.Close)
	r.Git(t, "init", "--quiet", "--initial-branch=main", r.Work())
	r.Git(t, "-C", r.Work(), "config", "receive.denyCurrentBranch", "ignore")
	return r
}

func (r *Remote) serve(w http.ResponseWriter, req *http.Request, next http.Handler) {
	r.mu.Lock()
	around := r.around
	r.mu.Unlock()
	if around != nil {
		around(w, req, next)
		return
	}
	next.ServeHTTP(w, req)
}

// Public makes all below a path readable without a password.
func (r *Remote) Public(prefix string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.public = append(r.public, prefix)
}

func (r *Remote) isPublic(path string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.public, func(prefix string) bool { return strings.HasPrefix(path, prefix) })
}

// Set wraps every authenticated request with a function.
func (r *Remote) Set(around func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.around = around
}

// Work returns the directory of the work tree.
func (r *Remote) Work() string { return filepath.Join(r.dir, "app") }

// Git runs git with a fixed identity and returns its output.
func (r *Remote) Git(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + r.dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b",
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// Commit writes files, commits them on the current branch and returns the hash.
func (r *Remote) Commit(t testing.TB, files map[string]string) string {
	t.Helper()
	return r.CommitTo(t, "app", files, nil)
}

// CommitTo does the same in another repository, and creates it if necessary. links maps the paths of
// its submodules to their commits.
func (r *Remote) CommitTo(t testing.TB, name string, files, links map[string]string) string {
	t.Helper()
	work := filepath.Join(r.dir, name)
	if _, err := os.Stat(work); err != nil {
		r.Git(t, "init", "--quiet", "--initial-branch=main", work)
	}
	for path, content := range files {
		write(t, filepath.Join(work, path), content)
	}
	r.Git(t, "-C", work, "add", "--all")
	for path, commit := range links {
		if err := os.MkdirAll(
			filepath.Join(work, path),
			0o755,
		); err != nil { // as a checkout has it: the next commit keeps the link
			t.Fatal(err)
		}
		r.Git(t, "-C", work, "update-index", "--add", "--cacheinfo", "160000,"+commit+","+path)
	}
	r.Git(t, "-C", work, "commit", "--quiet", "--allow-empty", "--message=a change")
	return r.Git(t, "-C", work, "rev-parse", "HEAD")
}

// Source returns the spec of a commit.
func (r *Remote) Source(ref, commit string) spec.Source {
	return spec.Source{URL: r.URL + "/app/.git", Ref: ref, Commit: commit}
}

// Credential returns a credential that the server accepts.
func Credential() spec.Credential {
	return spec.Credential{Username: "x-token-auth", Password: secret.New(Password)}
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
