package source_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"slipway/config/secret"
	"slipway/runner/source"
	"slipway/runner/source/sourcetest"
	"slipway/runner/spec"
)

func TestFetchTakesExactlyTheCommit(t *testing.T) {
	r := sourcetest.New(t)
	first := r.Commit(t, map[string]string{"Dockerfile": "FROM scratch\n", "greeting": "one"})
	r.Commit(t, map[string]string{"greeting": "two"})
	o := options(t)
	tree, err := source.Fetch(t.Context(), r.Source("refs/heads/main", first), r.Proxy(), o)
	if err != nil {
		t.Fatal(err)
	}
	// B11: the branch has moved, and the queued commit is built.
	if got := read(t, filepath.Join(tree.Dir, "greeting")); got != "one" {
		t.Errorf("greeting: got %q, want %q", got, "one")
	}
	if tree.Commit != first {
		t.Errorf("commit: got %s, want %s", tree.Commit, first)
	}
	if head := strings.TrimSpace(read(t, filepath.Join(tree.Dir, ".git/HEAD"))); head != first {
		t.Errorf("HEAD: got %s, want %s", head, first)
	}
	config := read(t, filepath.Join(tree.Dir, ".git/config"))
	if want := "url = " + r.URL + "/app/.git\n"; !strings.Contains(config, want) {
		t.Errorf("git configuration: got:\n%s\nwant %s in it", config, want)
	}
	for _, word := range []string{sourcetest.Password, r.Proxy().URL, "extraHeader", "insteadOf"} {
		if strings.Contains(config, word) {
			t.Errorf("git configuration: got:\n%s\nwant no %s in it", config, word)
		}
	}
}

func TestS5NoCredentialStays(t *testing.T) {
	r := sourcetest.New(t)
	commit := r.Commit(t, map[string]string{"Dockerfile": "FROM scratch\n"})
	o := options(t)
	if _, err := source.Fetch(t.Context(), r.Source("refs/heads/main", commit), r.Proxy(), o); err != nil {
		t.Fatal(err)
	}
	encoded := base64.StdEncoding.EncodeToString([]byte("Bearer " + sourcetest.Password))
	err := filepath.WalkDir(filepath.Dir(o.Dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(sourcetest.Password)) || bytes.Contains(b, []byte(encoded)) {
			t.Errorf("%s: got the credential in the file, want none", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// O3: git never treats a ref name as an option.
func TestO3HostileRefNames(t *testing.T) {
	t.Chdir(t.TempDir()) // a program that a name starts would write its files there
	for _, name := range []string{
		"--upload-pack=touch${IFS}canary", "-u", "a;touch${IFS}canary", "a$(touch${IFS}canary)", "a`touch${IFS}canary`",
		"a|touch${IFS}canary", "{{.Secret}}", "${{x}}", "<script>", "é",
	} {
		t.Run(name, func(t *testing.T) {
			r := sourcetest.New(t)
			commit := r.Commit(t, map[string]string{"Dockerfile": "FROM scratch\n"})
			r.Git(t, "-C", r.Work(), "update-ref", "refs/heads/"+name, r.Commit(t, nil))
			r.Set(refuseHashes) // so that the name is used
			o := options(t)
			tree, err := source.Fetch(t.Context(), r.Source("refs/heads/"+name, commit), r.Proxy(), o)
			if err != nil || tree.Commit != commit {
				t.Errorf("tree: got %+v, error %v, want commit %s", tree, err, commit)
			}
			for _, dir := range []string{".", o.Dir, r.Work(), filepath.Join(r.Work(), ".git")} {
				if _, err := os.Stat(filepath.Join(dir, "canary")); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("command in the name: got it run in %s, want it ignored", dir)
				}
			}
		})
	}
}

// refuseHashes serves git's first protocol, which serves only the heads of refs.
func refuseHashes(w http.ResponseWriter, r *http.Request, next http.Handler) {
	r.Header.Del("Git-Protocol")
	next.ServeHTTP(w, r)
}

func TestCommitGone(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, r *sourcetest.Remote){
		"the branch was deleted": func(t *testing.T, r *sourcetest.Remote) {
			r.Git(t, "-C", r.Work(), "update-ref", "-d", "refs/heads/topic")
		},
		"the branch was forced elsewhere": func(t *testing.T, r *sourcetest.Remote) {
			r.Git(t, "-C", r.Work(), "update-ref", "refs/heads/topic", "refs/heads/main")
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := sourcetest.New(t)
			r.Commit(t, map[string]string{"Dockerfile": "FROM scratch\n"})
			r.Commit(t, map[string]string{"x": "y"})
			r.Git(t, "-C", r.Work(), "branch", "topic")
			prepare(t, r)
			_, err := source.Fetch(
				t.Context(),
				r.Source("refs/heads/topic", strings.Repeat("1", 40)),
				r.Proxy(),
				options(t),
			)
			if !errors.Is(err, source.ErrCommitGone) {
				t.Errorf("fetch: got error %v, want %v", err, source.ErrCommitGone)
			}
		})
	}
}

// A server that refuses unadvertised hashes still yields a commit that the ref contains.
func TestFetchFallsBackToTheRef(t *testing.T) {
	r := sourcetest.New(t)
	first := r.Commit(t, map[string]string{"greeting": "one"})
	second := r.Commit(t, map[string]string{"greeting": "two"})
	r.Set(refuseHashes)
	for commit, want := range map[string]string{first: "one", second: "two"} {
		tree, err := source.Fetch(t.Context(), r.Source("refs/heads/main", commit), r.Proxy(), options(t))
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, filepath.Join(tree.Dir, "greeting")); got != want {
			t.Errorf("greeting: got %q, want %q", got, want)
		}
	}
	_, err := source.Fetch(t.Context(), r.Source("refs/heads/main", strings.Repeat("1", 40)), r.Proxy(), options(t))
	if !errors.Is(err, source.ErrCommitGone) {
		t.Errorf("fetch: got error %v, want %v", err, source.ErrCommitGone)
	}
}

func TestRefusedCredential(t *testing.T) {
	r := sourcetest.New(t)
	commit := r.Commit(t, map[string]string{"Dockerfile": "FROM scratch\n"})
	for name, c := range map[string]source.Proxy{
		"none": {URL: r.Proxy().URL}, "wrong": {URL: r.Proxy().URL, Token: secret.New("wrong-canary")},
	} {
		_, err := source.Fetch(t.Context(), r.Source("refs/heads/main", commit), c, options(t))
		if !errors.Is(err, source.ErrUnauthorized) {
			t.Fatalf("%s: got %v, want ErrUnauthorized", name, err)
		}
		if strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got error %v, want no token in it", name, err)
		}
	}
}

func TestUnknownRepository(t *testing.T) {
	r := sourcetest.New(t)
	s := r.Source("refs/heads/main", strings.Repeat("1", 40))
	r.Set(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		http.Error(w, "the repository does not exist", http.StatusNotFound)
	})
	if _, err := source.Fetch(t.Context(), s, r.Proxy(), options(t)); !errors.Is(err, source.ErrNotFound) {
		t.Errorf("fetch: got error %v, want %v", err, source.ErrNotFound)
	}
}

func TestNetworkErrorsAreRetried(t *testing.T) {
	r := sourcetest.New(t)
	commit := r.Commit(t, map[string]string{"Dockerfile": "FROM scratch\n"})
	var requests atomic.Int32
	r.Set(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if requests.Add(1) <= 2 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		next.ServeHTTP(w, req)
	})
	o := options(t)
	var log bytes.Buffer
	o.Log = &log
	if _, err := source.Fetch(t.Context(), r.Source("refs/heads/main", commit), r.Proxy(), o); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "attempt 3") {
		t.Errorf("log: got %q, want attempt 3 in it", &log)
	}
}

func TestRetriesOfNetworkErrorsEnd(t *testing.T) {
	r := sourcetest.New(t)
	commit := r.Commit(t, map[string]string{"Dockerfile": "FROM scratch\n"})
	r.Close()
	_, err := source.Fetch(t.Context(), r.Source("refs/heads/main", commit), r.Proxy(), options(t))
	if err == nil || errors.Is(err, source.ErrCommitGone) {
		t.Errorf("fetch: got error %v, want the network's error", err)
	}
}

// O1: the credential does not follow a redirect.
func TestO1CredentialStaysWithItsHost(t *testing.T) {
	var leaked atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leaked.Store(r.Header.Get("Authorization") != "")
		w.WriteHeader(http.StatusNotFound)
	}))
	defer other.Close()
	r := sourcetest.New(t)
	r.Set(func(w http.ResponseWriter, req *http.Request, _ http.Handler) {
		http.Redirect(w, req, other.URL+req.URL.String(), http.StatusFound)
	})
	_, err := source.Fetch(t.Context(), r.Source("refs/heads/main", strings.Repeat("1", 40)), r.Proxy(), options(t))
	switch {
	case err == nil:
		t.Error("redirect: got no error, want one")
	case !strings.Contains(err.Error(), "redirect"):
		t.Errorf(`redirect: got error %v, want "redirect" in it`, err)
	case leaked.Load():
		t.Error("credential of the redirected request: got it, want none")
	}
}

func TestFetchEndsWithItsContext(t *testing.T) {
	r := sourcetest.New(t)
	commit := r.Commit(t, map[string]string{"Dockerfile": "FROM scratch\n"})
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	release := make(chan struct{})
	r.Set(func(_ http.ResponseWriter, req *http.Request, _ http.Handler) {
		cancel(stop)
		select {
		case <-release:
		case <-req.Context().Done():
		}
	})
	defer close(release)
	if _, err := source.Fetch(ctx, r.Source("refs/heads/main", commit), r.Proxy(), options(t)); !errors.Is(err, stop) {
		t.Errorf("ended fetch: got error %v, want the cause %v", err, stop)
	}
}

// O4: hooks of a repository never run.
func TestO4NoHooks(t *testing.T) {
	r := sourcetest.New(t)
	canary := filepath.Join(t.TempDir(), "canary")
	commit := r.Commit(t, map[string]string{
		"Dockerfile":          "FROM scratch\n",
		".gitmodules":         "[submodule \"x\"]\n\tpath = x\n\turl = ext::sh -c touch% " + canary + "\n",
		".gitattributes":      "* filter=run\n",
		"hooks/post-checkout": "#!/bin/sh\ntouch " + canary + "\n",
	})
	o := options(t)
	write(
		t,
		filepath.Join(o.Home, ".gitconfig"),
		"[filter \"run\"]\n\tsmudge = touch "+canary+"\n[core]\n\thooksPath = hooks\n",
	)
	tree, err := source.Fetch(t.Context(), r.Source("refs/heads/main", commit), r.Proxy(), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(canary); !errors.Is(err, fs.ErrNotExist) {
		t.Error("program of the repository: got it run, want it ignored")
	}
	if !tree.HasSubmodules() {
		t.Error("submodules: got none, want some")
	}
}

func TestGitMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := source.Fetch(t.Context(), spec.Source{}, source.Proxy{}, source.Options{})
	if err == nil || !strings.Contains(err.Error(), "install git") {
		t.Errorf("fetch without git: got error %v, want the fix in it", err)
	}
}
