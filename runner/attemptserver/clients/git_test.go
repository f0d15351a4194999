package clients_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"

	"slipway/config/secret"
	"slipway/runner/gitrelay"
	"slipway/runner/source/sourcetest"
)

const lfsContent = "a large file"

// newGateway stands for the gateway's git proxy. It serves one build's repository for the attempt's
// token, and sends the account's password to the repository's host.
func newGateway(t *testing.T, remote *sourcetest.Remote) *httptest.Server {
	t.Helper()
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rest, ok := strings.CutPrefix(r.URL.Path, "/git/b-123")
		switch {
		case !ok || r.Header.Get("Authorization") != "Bearer "+attemptToken:
			http.Error(w, "this address needs the token of a running attempt", http.StatusForbidden)
		case rest == "/info/lfs/objects/batch":
			w.Header().Set("Content-Type", "application/vnd.git-lfs+json")
			fmt.Fprintf(w, `{"transfer":"basic","objects":[{"oid":%q,"size":%d,"authenticated":true,`+
				`"actions":{"download":{"href":"http://%s/git/b-123/lfs/ABCDEFGHIJKLMNOPQRSTUVWXYZ"}}}]}`,
				oid(lfsContent), len(lfsContent), r.Host)
		case rest == "/lfs/ABCDEFGHIJKLMNOPQRSTUVWXYZ":
			_, _ = io.WriteString(w, lfsContent)
		default:
			r.URL.Path = "/app/.git" + rest
			r.SetBasicAuth("x-token-auth", sourcetest.Password)
			remote.Config.Handler.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(gateway.Close)
	return gateway
}

func oid(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

// newGitPlace makes a place in which bitbucket.org is the attempt's relay.
func newGitPlace(t *testing.T) (*place, context.CancelFunc) {
	t.Helper()
	needs(t, "git")
	remote := sourcetest.New(t)
	remote.Commit(t, map[string]string{"README": "one"})
	remote.Git(t, "-C", remote.Work(), "tag", "v1")
	remote.Commit(t, map[string]string{
		".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n",
		"large.bin": fmt.Sprintf("version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n",
			oid(lfsContent), len(lfsContent)),
	})
	address, err := url.Parse(newGateway(t, remote).URL + "/git/b-123")
	if err != nil {
		t.Fatal(err)
	}
	logger := logrus.New()
	logger.Out = io.Discard
	attempt, end := context.WithCancel(t.Context())
	relay, err := gitrelay.New(attempt, gitrelay.Options{Host: "bitbucket.org", Path: "acme/app", Gateway: address,
		Token: secret.New(attemptToken), Transport: http.DefaultTransport, Log: logger})
	if err != nil {
		t.Fatal(err)
	}
	p := newPlace(attempt, t, byBundle, site{[]string{"bitbucket.org"}, "443", relay})
	t.Cleanup(end)
	return p, end
}

// A hook's git has no settings and no credential.
func TestPlainGit(t *testing.T) {
	p, end := newGitPlace(t)
	p.ok("git", "clone", "--quiet", "--depth", "1", "https://bitbucket.org/acme/app.git", "app")
	if got := p.ok("git", "-C", "app", "rev-list", "--count", "HEAD"); got != "1\n" {
		t.Errorf("commits of a shallow clone: got %q, want 1", got)
	}
	p.ok("git", "-C", "app", "fetch", "--quiet", "--unshallow")
	if got := p.ok("git", "-C", "app", "rev-list", "--count", "HEAD"); got != "2\n" {
		t.Errorf("commits after --unshallow: got %q, want 2", got)
	}
	p.ok("git", "-C", "app", "fetch", "--quiet", "--tags")
	if got := p.ok("git", "-C", "app", "describe", "--tags"); !strings.HasPrefix(got, "v1-1-g") {
		t.Errorf("describe: got %q, want v1-1-g...", got)
	}
	for _, address := range []string{"https://joe@bitbucket.org/acme/app.git", "https://bitbucket.org/acme/app",
		"https://bitbucket.org:443/acme/app.git", "https://Bitbucket.org/Acme/App.git"} {
		if got := p.ok("git", "ls-remote", address, "HEAD"); !strings.Contains(got, "HEAD") {
			t.Errorf("ls-remote %s: got %q, want HEAD in it", address, got)
		}
	}
	for _, version := range []string{"0", "1", "2"} {
		p.ok("git", "-c", "protocol.version="+version, "ls-remote", "https://bitbucket.org/acme/app.git")
	}
	p.refused("403", "git", "-C", "app", "push", "origin", "HEAD:refs/heads/x")
	p.refused("this build may only fetch acme/app from bitbucket.org", "git", "ls-remote",
		"https://bitbucket.org/other/private.git")
	p.noToken()
	end()
	p.refused("", "git", "ls-remote", "https://bitbucket.org/acme/app.git")
}

func TestGitLFS(t *testing.T) {
	needs(t, "git-lfs")
	p, _ := newGitPlace(t)
	p.ok("git", "lfs", "install", "--skip-repo")
	p.ok("git", "clone", "--quiet", "https://bitbucket.org/acme/app.git", "app")
	got, err := os.ReadFile(filepath.Join(p.dir, "app/large.bin"))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != lfsContent {
		t.Errorf("file of the LFS object: got %q, want %q", got, lfsContent)
	}
	p.noToken()
}

// noToken checks that no file of the place holds the token of the attempt, but for the login to
// registries.
func (p *place) noToken() {
	p.t.Helper()
	checked := 0
	p.must(filepath.WalkDir(p.dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || strings.HasSuffix(path, ".docker/config.json") {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		checked++
		if strings.Contains(string(content), attemptToken) || strings.Contains(string(content), sourcetest.Password) {
			p.t.Errorf("%s: got a credential in it, want none", path)
		}
		return nil
	}))
	if checked == 0 {
		p.t.Error("checked files: got none, want some")
	}
}
