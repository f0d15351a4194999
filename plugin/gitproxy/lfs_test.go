package gitproxy_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"slipway/config/netpolicy"
	"slipway/plugin/bitbucket/bitbuckettest/faults"
	"slipway/plugin/gitproxy"
)

// lfsEnv is an env with LFS objects on two other hosts.
type lfsEnv struct {
	*env
	media, storage *httptest.Server
	mu             sync.Mutex
	stored         []http.Header // of requests at the storage
}

func newLFS(t *testing.T) *lfsEnv {
	t.Helper()
	l := &lfsEnv{}
	var handlers [2]http.Handler
	l.media = httptest.NewServer(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handlers[0].ServeHTTP(w, r) }),
	)
	t.Cleanup(l.media.Close)
	l.storage = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		l.stored = append(l.stored, r.Header.Clone())
		l.mu.Unlock()
		handlers[1].ServeHTTP(w, r)
	}))
	t.Cleanup(l.storage.Close)
	l.env = newEnv(t, func(o *gitproxy.Options) {
		o.Policy = netpolicy.Policy{Allow: append(o.Policy.Allow, hostOf(l.media.URL), hostOf(l.storage.URL))}
	})
	handlers = [2]http.Handler{l.server.MediaHost(), l.server.StorageHost()}
	l.server.SetLFSHosts(l.media.URL, l.storage.URL)
	return l
}

type lfsResponse struct {
	Message string
	Objects []struct {
		OID     string
		Actions map[string]struct {
			Href   string
			Header map[string]string
		}
		Error *struct{ Code int }
	}
}

// batch sends a batch request for objects and returns the response.
func (e *env) batch(operation string, oids ...string) (*http.Response, lfsResponse) {
	e.t.Helper()
	request := map[string]any{"operation": operation, "transfers": []string{"ssh", "lfs-standalone-file", "basic"}}
	var objects []map[string]any
	for _, oid := range oids {
		objects = append(objects, map[string]any{"oid": oid, "size": 1})
	}
	request["objects"] = objects
	body, err := json.Marshal(request)
	e.must(err)
	resp := e.do(http.MethodPost, "/info/lfs/objects/batch", body)
	var response lfsResponse
	e.must(json.NewDecoder(resp.Body).Decode(&response))
	return resp, response
}

// download follows the only action of a response.
func (e *env) download(a lfsResponse) *http.Response {
	e.t.Helper()
	href := a.Objects[0].Actions["download"].Href
	rest, ok := strings.CutPrefix(href, e.url())
	if !ok {
		e.t.Fatalf("address: got %s, want one below %s", href, e.url())
	}
	return e.do(http.MethodGet, rest, nil)
}

func TestLFSObjectsPass(t *testing.T) {
	l := newLFS(t)
	content := bytes.Repeat([]byte("large "), 100000)
	oid := l.server.AddLFSObject(content)
	_, response := l.batch("download", oid)
	text, err := json.Marshal(response)
	l.must(err)
	for _, word := range []string{l.media.URL, l.storage.URL, "JWT", "Authorization", oid + "?"} {
		if strings.Contains(string(text), word) {
			t.Errorf("response: got %s in it, want none: %s", word, text)
		}
	}
	got, err := io.ReadAll(l.download(response).Body)
	l.must(err)
	if !bytes.Equal(got, content) {
		t.Errorf("other bytes: got %d, want the object's %d", len(got), len(content))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.stored) != 1 {
		t.Fatalf("requests at the storage: got %d, want 1", len(l.stored))
	}
	if got := l.stored[0].Get("Authorization"); got != "" {
		t.Errorf("after the redirect: got Authorization %q, want none", got)
	}
	if got := l.download(response).StatusCode; got != http.StatusNotFound {
		t.Errorf("the same address again: got status %d, want 404", got)
	}
}

func TestLFSRefusals(t *testing.T) {
	l := newLFS(t)
	oid := l.server.AddLFSObject([]byte("x"))
	resp, response := l.batch("upload", oid)
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("upload: got status %d, want 403", resp.StatusCode)
	}
	if response.Message != "only downloads are served here" {
		t.Errorf(`upload: got message %q, want "only downloads are served here"`, response.Message)
	}
	if resp, _ := l.batch("download", "../../etc/passwd"); resp.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("an id that is no hash: got status %d, want 422", resp.StatusCode)
	}
	many := make([]string, 1001)
	for i := range many {
		many[i] = oid
	}
	if resp, _ := l.batch("download", many...); resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("1001 objects: got status %d, want 413", resp.StatusCode)
	}
	if resp := l.do(http.MethodPost, "/info/lfs/objects/batch", []byte("{")); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("no JSON: got status %d, want 400", resp.StatusCode)
	}
	large := append(bytes.Repeat([]byte(" "), 1<<20), "{}"...)
	if resp := l.do(
		http.MethodPost,
		"/info/lfs/objects/batch",
		large,
	); resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("more than 1 MiB: got status %d, want 413", resp.StatusCode)
	}
	_, response = l.batch("download", strings.Repeat("0", 64))
	if e := response.Objects[0].Error; e == nil || e.Code != http.StatusNotFound {
		t.Errorf("unknown object: got the error %v, want 404", e)
	}
	for _, r := range l.upstream() {
		if strings.HasSuffix(r.URL.Path, "/batch") && r.Header.Get("Authorization") == "" {
			t.Error("credential of the batch request: got none, want the account's")
		}
	}
}

// Only the attempt that got an object in a batch response can fetch it, until the attempt ends.
func TestLFSObjectsBelongToTheirAttempt(t *testing.T) {
	l := newLFS(t)
	oid := l.server.AddLFSObject([]byte("x"))
	_, response := l.batch("download", oid)
	href := response.Objects[0].Actions["download"].Href
	other, token := l.start(l.commit)
	resp := l.do(http.MethodGet, "", nil, func(r *http.Request) {
		r.URL.Path = "/git/" + other.ID + strings.TrimPrefix(href, l.url())
		r.Header.Set("Authorization", "Bearer "+token)
	})
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("another attempt: got status %d, want 404", resp.StatusCode)
	}
	l.finish()
	if got := l.download(response).StatusCode; got != http.StatusForbidden {
		t.Errorf("after the end: got status %d, want 403", got)
	}
}

// Batch answers and redirects are not trusted: the proxy does not connect to the gateway's own machine.
func TestLFSAddressesGoThroughThePolicy(t *testing.T) {
	inner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "x") }))
	defer inner.Close()
	sum := sha256.Sum256([]byte("x"))
	oid := hex.EncodeToString(sum[:])
	for name, address := range map[string]func(l *lfsEnv) string{
		"address":       func(*lfsEnv) string { return inner.URL },
		"metadata":      func(*lfsEnv) string { return "http://169.254.169.254" },
		"redirect":      func(l *lfsEnv) string { l.server.SetLFSHosts(l.media.URL, inner.URL); return l.media.URL },
		"a mapped form": func(*lfsEnv) string { return strings.Replace(inner.URL, "127.0.0.1", "[::ffff:127.0.0.1]", 1) },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLFS(t)
			l.server.AddLFSObject([]byte("x"))
			l.server.SetLFSHosts(address(l), inner.URL)
			_, response := l.batch("download", oid)
			if got := l.download(response).StatusCode; got != http.StatusBadGateway {
				t.Errorf("status: got %d, want 502", got)
			}
		})
	}
}

// An object with another size or hash than announced is cut off, so that the client notices it.
func TestLFSObjectsAreChecked(t *testing.T) {
	content := bytes.Repeat([]byte("x"), 200000)
	for name, forged := range map[string][]byte{
		"other bytes": bytes.Repeat([]byte("y"), 200000), "fewer": content[1:], "more": append([]byte("x"), content...),
	} {
		t.Run(name, func(t *testing.T) {
			l := newLFS(t)
			oid := l.server.AddLFSObject(content)
			storage := httptest.NewServer(
				http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(forged) }),
			)
			defer storage.Close()
			l.storage.Config.Handler = storage.Config.Handler
			_, response := l.batch("download", oid)
			got, err := io.ReadAll(l.download(response).Body)
			if err == nil {
				t.Errorf("bytes and their end: got %d, want a broken connection", len(got))
			}
		})
	}
}

// A batch request is not retried after a 401. The next fetch renews the token.
func TestLFSBatchIsNotRepeated(t *testing.T) {
	l := newLFS(t)
	oid := l.server.AddLFSObject([]byte("x"))
	script := l.faults.Add(
		faults.Rule{Path: "/acme/app.git/info/lfs/objects/batch", Fault: faults.Status(http.StatusUnauthorized, "no")},
	)
	resp, _ := l.batch("download", oid)
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("status: got %d, want 503", resp.StatusCode)
	}
	if got := script.Hits(); got != 1 {
		t.Errorf("upstream requests: got %d, want 1", got)
	}
}

// git-lfs gets objects through the proxy, and a pushed .lfsconfig starts no program.
func TestGitLFSKeepsToTheProxy(t *testing.T) {
	if _, err := exec.LookPath("git-lfs"); err != nil {
		t.Skip("SKIPPED: git-lfs is absent (Debian: apt-get install git-lfs)")
	}
	canary := filepath.Join(t.TempDir(), "canary")
	ssh := filepath.Join(t.TempDir(), "ssh")
	if err := os.WriteFile(ssh, []byte("#!/bin/sh\n: > "+canary+"\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]string{
		"no .lfsconfig": "", "ssh": "[lfs]\n\turl = ssh://git@evil.example/x\n", "a file": "[lfs]\n\turl = file:///etc\n",
		"of the remote": "[remote \"origin\"]\n\tlfsurl = ssh://git@evil.example/x\n",
	} {
		t.Run(name, func(t *testing.T) {
			l := newLFS(t)
			content := []byte("large\n")
			oid := l.server.AddLFSObject(content)
			files := map[string]string{
				".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n",
				"a.bin": fmt.Sprintf(
					"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n",
					oid,
					len(content),
				),
			}
			if config != "" {
				files[".lfsconfig"] = config
			}
			l.commit = l.push(files)
			l.build, l.token = l.start(l.commit)
			work := filepath.Join(t.TempDir(), "work")
			out, err := l.lfsClone(work, ssh)
			if err != nil {
				t.Fatalf("clone: %v\n%s", err, out)
			}
			got, err := os.ReadFile(filepath.Join(work, "a.bin"))
			l.must(err)
			if !bytes.Equal(got, content) {
				t.Errorf("read file: got %q, want the object's content", got)
			}
			if _, err := os.Stat(canary); err == nil {
				t.Error("clone: got a start of ssh, want none")
			}
		})
	}
}

// lfsClone clones with git-lfs's filters and the settings of a runner's git.
func (l *lfsEnv) lfsClone(work, ssh string) (string, error) {
	settings := []string{
		"http." + l.gateway.URL + "/.extraHeader",
		"Authorization: Bearer " + l.token,
		"http." + l.gateway.URL + "/.proxy",
		"",
		"lfs.url",
		l.url() + "/info/lfs",
		"filter.lfs.process",
		"git-lfs filter-process",
		"filter.lfs.required",
		"true",
		"filter.lfs.smudge",
		"git-lfs smudge -- %f",
	}
	cmd := exec.CommandContext(l.t.Context(), "git", "clone", "-q", l.url(), work)
	cmd.Env = []string{
		"PATH=" + os.Getenv(
			"PATH",
		),
		"HOME=" + l.t.TempDir(),
		"LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0",
		"GIT_SSH_COMMAND=" + ssh,
		fmt.Sprintf("GIT_CONFIG_COUNT=%d", len(settings)/2),
	}
	for i := 0; i < len(settings); i += 2 {
		cmd.Env = append(
			cmd.Env,
			fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i/2, settings[i]),
			fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i/2, settings[i+1]),
		)
	}
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}
