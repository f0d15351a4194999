package buildkit

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"slipway/runner/spec"
)

// Another builder than Slipway's keeps sent files by the key, and believes sizes and dates. So the key follows the
// content of all directories.
func TestTheKeyOfSentFilesFollowsTheContent(t *testing.T) {
	put := func(dir, name, content string) {
		t.Helper()
		path := filepath.Join(dir, name)
		date := time.Unix(1767225600, 0)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, date, date); err != nil {
			t.Fatal(err)
		}
	}
	dir, other, named := t.TempDir(), t.TempDir(), t.TempDir()
	r := Request{Context: dir, Dockerfile: filepath.Join(dir, "Dockerfile"), SharedKey: "repository"}
	r.Options.Contexts = []spec.NamedContext{{Name: "docs", Dir: named}}
	put(dir, ".dockerignore", "ignored")
	foreign := &Client{}
	key := func(r Request) string {
		t.Helper()
		return foreign.sharedKey(t.Context(), r)
	}
	first := key(r)
	if got := key(r); got != first {
		t.Errorf("key of the same content: got %s, want %s", got, first)
	}
	put(dir, "ignored", "x")
	if got := key(r); got != first {
		t.Errorf("key with an ignored file: got %s, want %s", got, first)
	}
	seen := map[string]string{first: "the first"}
	check := func(what string, r Request) {
		t.Helper()
		got := key(r)
		if before, known := seen[got]; known {
			t.Errorf("%s: got the key of %s, want another", what, before)
		}
		seen[got] = what
	}
	put(dir, "VERSION", "1.2.3")
	check("a new file", r)
	put(dir, "VERSION", "1.2.4")
	check("the same size and date", r)
	put(named, "VERSION", "1.2.3")
	check("a file of a named context", r)
	put(named, "VERSION", "1.2.4")
	check("another content there", r)
	elsewhere := r
	elsewhere.Context = other
	check("another context", elsewhere)
	elsewhere.SharedKey = "another repository"
	check("another repository", elsewhere)
	missing := r
	missing.Context = filepath.Join(dir, "none")
	check("a context that cannot be read", missing)
	check("the same again", missing) // a random key
	own := &Client{fresh: true}
	if got := own.sharedKey(t.Context(), r); got != "repository" {
		t.Errorf("key for Slipway's builder: got %q, want %q", got, "repository")
	}
}
