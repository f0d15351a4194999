package source_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"slipway/config/secret"
	"slipway/runner/source"
	"slipway/runner/source/sourcetest"
)

func modules(path, url string) string {
	return "[submodule \"" + path + "\"]\n\tpath = " + path + "\n\turl = " + url + "\n"
}

// fetchAll fetches app's commit and its submodules.
func fetchAll(t *testing.T, r *sourcetest.Remote, commit string, o source.Options) (source.Tree, error) {
	t.Helper()
	s := r.Source("refs/heads/main", commit)
	tree, err := source.Fetch(t.Context(), s, r.Proxy(), o)
	if err != nil {
		t.Fatal(err)
	}
	return tree, source.Submodules(t.Context(), s, r.Proxy(), tree, o)
}

// B12: a private ssh submodule and its submodule are fetched with SSH_PRIVATE at the commits in the trees.
// No file contains the key.
func TestB12PrivateSubmodulesAreFetchedWithTheKey(t *testing.T) {
	r := sourcetest.New(t)
	server := r.SSH(t)
	leaf := r.CommitTo(t, "leaf", map[string]string{"name": "leaf"}, nil)
	lib := r.CommitTo(
		t,
		"lib",
		map[string]string{"name": "lib", ".gitmodules": modules("in/leaf", "../leaf")},
		map[string]string{"in/leaf": leaf},
	)
	r.CommitTo(t, "lib", map[string]string{"name": "newer"}, nil)
	commit := r.CommitTo(
		t,
		"app",
		map[string]string{"Dockerfile": "FROM scratch\n", ".gitmodules": modules("lib", server.URL("lib"))},
		map[string]string{"lib": lib},
	)
	o := options(t)
	o.SSHKey, o.KnownHosts = server.Key, server.KnownHosts
	log := &bytes.Buffer{}
	o.Log = log
	tree, err := fetchAll(t, r, commit, o)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(
		t,
		filepath.Join(tree.Dir, "lib/name"),
	) + read(
		t,
		filepath.Join(tree.Dir, "lib/in/leaf/name"),
	); got != "libleaf" {
		t.Errorf(`files of the submodules: got %q, want "libleaf"`, got)
	}
	if want := "submodule lib is at commit " + lib + "\nsubmodule lib/in/leaf is at commit " + leaf + "\n"; log.String() != want {
		t.Errorf("log: got %q, want %q", log, want)
	}
	middle := strings.Split(server.Key.Reveal(), "\n")[2]
	err = filepath.WalkDir(filepath.Dir(o.Dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if strings.Contains(read(t, path), middle) {
			t.Errorf("%s: got the key in the file, want none", path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// A public submodule needs no key. The repository's credential is never used for another repository.
func TestPublicSubmodulesAreFetchedWithoutACredential(t *testing.T) {
	r := sourcetest.New(t)
	lib := r.CommitTo(t, "lib", map[string]string{"name": "lib"}, nil)
	commit := r.CommitTo(
		t,
		"app",
		map[string]string{".gitmodules": modules("lib", "../../lib/.git") + modules("gone", "../none")},
		map[string]string{"lib": lib},
	)
	_, err := fetchAll(t, r, commit, options(t))
	if !errors.Is(err, source.ErrSubmodule) {
		t.Fatalf("private submodule: got %v, want ErrSubmodule", err)
	}
	if !strings.Contains(err.Error(), "SSH_PRIVATE") {
		t.Errorf("private submodule: got %v, want the fix in the error", err)
	}
	r.Public("/lib/")
	r.Set(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if strings.HasPrefix(req.URL.Path, "/lib/") && req.Header.Get("Authorization") != "" {
			t.Error("Authorization to the submodule's server: got the repository's credential, want none")
		}
		next.ServeHTTP(w, req)
	})
	tree, err := fetchAll(t, r, commit, options(t))
	if err != nil || read(t, filepath.Join(tree.Dir, "lib/name")) != "lib" {
		t.Errorf("public submodule: got another file, or error %v, want lib/name", err)
	}
}

func TestSubmoduleFaultsNameTheFix(t *testing.T) {
	r := sourcetest.New(t)
	server := r.SSH(t)
	lib := r.CommitTo(t, "lib", map[string]string{"name": "lib"}, nil)
	_, other := r.SSH(t), r.SSH(t).Key
	elsewhere := "0123456789012345678901234567890123456789"
	for name, c := range map[string]struct {
		url, commit, hosts, want string
		key                      secret.Secret
	}{
		"no key":            {url: server.URL("lib"), want: "set the environment variable SSH_PRIVATE"},
		"another key":       {url: server.URL("lib"), key: other, hosts: server.KnownHosts, want: "add the public half of SSH_PRIVATE there"},
		"an unknown server": {url: server.URL("lib"), key: server.Key, want: "ssh-keyscan 127.0.0.1"},
		"no such commit":    {url: server.URL("lib"), key: server.Key, hosts: server.KnownHosts, commit: elsewhere, want: "push that commit"},
		"a program":         {url: "ext::sh -c touch% canary", want: "cannot be fetched: use"},
		"a file":            {url: "file:///etc", want: "cannot be fetched: use"},
		"a path":            {url: "/etc", want: "cannot be fetched: use"},
		"git's own":         {url: "git://example.com/x", want: "use https, http or ssh"},
		"an option":         {url: "ssh://-oProxyCommand=x/y", want: "cannot be fetched: use"},
		"this machine":      {url: "http://localhost:1/x", want: "builds may not connect to it: address not allowed: 127.0.0.1 is loopback"},
		"not a key":         {url: server.URL("lib"), key: secret.New("canary"), want: "from -----BEGIN to -----END"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.commit == "" {
				c.commit = lib
			}
			commit := r.CommitTo(
				t,
				"app",
				map[string]string{".gitmodules": modules("lib", c.url)},
				map[string]string{"lib": c.commit},
			)
			o := options(t)
			o.SSHKey, o.KnownHosts = c.key, c.hosts
			_, err := fetchAll(t, r, commit, o)
			switch {
			case err == nil:
				t.Errorf("fetch: got no error, want %q", c.want)
			case !strings.Contains(err.Error(), c.want):
				t.Errorf("fetch: got error %v, want %q in it", err, c.want)
			case strings.Contains(err.Error(), "canary:"):
				t.Errorf(`fetch: got error %v, want no "canary:" in it`, err)
			}
			if !errors.Is(err, source.ErrSubmodule) && !errors.Is(err, source.ErrSSHKey) {
				t.Errorf("fetch: got error %v, want an error of the repository", err)
			}
		})
	}
}

// O4: a crafted repository cannot make git run its hooks. CVE-2025-48384: a path that ends in a carriage
// return, next to a link with the same name without it. CVE-2024-32002: a link in place of git's files.
func TestO4CraftedSubmodulesRunNothing(t *testing.T) {
	canary := filepath.Join(t.TempDir(), "canary")
	hook := "#!/bin/sh\n: > " + canary + "\n"
	for name, path := range map[string]string{"carriage return": "m\r", "a link": "m/sub"} {
		t.Run(name, func(t *testing.T) {
			r := sourcetest.New(t)
			r.Public("/lib/")
			lib := r.CommitTo(t, "lib", map[string]string{"post-checkout": hook, "hooks/post-checkout": hook}, nil)
			if err := os.Symlink(".git/hooks", filepath.Join(r.Work(), "m")); err != nil {
				t.Fatal(err)
			}
			commit := r.CommitTo(
				t,
				"app",
				map[string]string{".gitmodules": modules("lib", "../../lib/.git") + "\tpath = \"" + path + "\"\n"},
				nil,
			)
			if name == "carriage return" {
				commit = r.CommitTo(t, "app", nil, map[string]string{path: lib})
			}
			_, err := fetchAll(t, r, commit, options(t))
			if _, statErr := os.Stat(canary); !errors.Is(statErr, fs.ErrNotExist) {
				t.Fatalf("program of the repository: got it run, error %v, want it ignored", err)
			}
		})
	}
}

func TestKeysInEveryForm(t *testing.T) {
	r := sourcetest.New(t)
	server := r.SSH(t)
	lib := r.CommitTo(t, "lib", map[string]string{"name": "lib"}, nil)
	commit := r.CommitTo(
		t,
		"app",
		map[string]string{".gitmodules": modules("lib", server.URL("lib"))},
		map[string]string{"lib": lib},
	)
	text := server.Key.Reveal()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	locked, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	for want, forms := range map[string][]string{
		"":                    {text, strings.TrimSpace(text), strings.ReplaceAll(text, "\n", `\n`), strings.ReplaceAll(text, "\n", ""), strings.ReplaceAll(text, "\n", " "), strings.ReplaceAll(text, "\n", "\r\n")},
		"it has a passphrase": {string(pem.EncodeToMemory(locked))},
	} {
		for i, form := range forms {
			o := options(t)
			o.SSHKey, o.KnownHosts = secret.New(form), server.KnownHosts
			_, err := fetchAll(t, r, commit, o)
			if (err == nil) != (want == "") {
				t.Errorf("form %d: got the error %v, want %q", i, err, want)
			}
			if err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("form %d: got the error %v, want %q in it", i, err, want)
			}
		}
	}
}
