package buildcontext_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"slipway/runner/buildcontext"
)

// Content decides about the hash, and not the size and the date. A date does not change it.
func TestHash(t *testing.T) {
	date := time.Unix(1767225600, 0)
	hash := func(t *testing.T, change func(path string) error) string {
		t.Helper()
		d, path := open(t, map[string]string{"VERSION": "version 1.2.3", "dir/f": "", "ignored": "a"})
		if err := change(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(path, "VERSION"), date, date); err != nil {
			t.Fatal(err)
		}
		sum, err := d.Hash(t.Context(), []string{"ignored"})
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	file := func(name, content string) func(string) error {
		return func(path string) error { return os.WriteFile(filepath.Join(path, name), []byte(content), 0o600) }
	}
	first := hash(t, func(string) error { return nil })
	for name, c := range map[string]struct {
		change func(path string) error
		same   bool
	}{
		"the same":         {func(string) error { return nil }, true},
		"an ignored file":  {file("ignored", "b"), true},
		"another date":     {func(path string) error { return os.Chtimes(filepath.Join(path, "dir/f"), date, date) }, true},
		"the same size":    {file("VERSION", "version 1.2.4"), false},
		"a new file":       {file("dir/g", ""), false},
		"a mode":           {func(path string) error { return os.Chmod(filepath.Join(path, "VERSION"), 0o755) }, false},
		"a directory mode": {func(path string) error { return os.Chmod(filepath.Join(path, "dir"), 0o700) }, false},
		"a new directory":  {func(path string) error { return os.Mkdir(filepath.Join(path, "d"), 0o755) }, false},
		"a symbolic link":  {func(path string) error { return os.Symlink("x", filepath.Join(path, "l")) }, false},
		"a moved file": {func(path string) error {
			return os.Rename(filepath.Join(path, "dir/f"), filepath.Join(path, "f"))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if same := hash(t, c.change) == first; same != c.same {
				t.Errorf("the same hash: got %t, want %t", same, c.same)
			}
		})
	}
}

// A directory that takes long to hash has no hash.
func TestALargeDirectoryHasNoHash(t *testing.T) {
	d, path := open(t, nil)
	file, err := os.Create(filepath.Join(path, "large")) // a hole takes no space
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Truncate(1 << 40); err != nil {
		t.Fatal(err)
	}
	if sum, err := d.Hash(t.Context(), nil); err == nil {
		t.Errorf("hash: got %s, want an error", sum)
	}
}

func TestExcludedPatterns(t *testing.T) {
	for name, c := range map[string]struct {
		files  map[string]string
		link   [2]string
		want   []string
		unused string
	}{
		"none":                {files: nil},
		"of the context":      {files: map[string]string{".dockerignore": "# a\na\n!b\n"}, want: []string{"a", "!b"}},
		"of the Dockerfile":   {files: map[string]string{".dockerignore": "a", "app/Dockerfile.dockerignore": "c"}, want: []string{"c"}},
		"a link within":       {files: map[string]string{"ignore": "a"}, link: [2]string{"ignore", ".dockerignore"}, want: []string{"a"}},
		"an absolute link":    {files: map[string]string{"ignore": "a"}, link: [2]string{"/ignore", ".dockerignore"}, want: []string{"a"}},
		"a link to nothing":   {link: [2]string{"no/such", ".dockerignore"}, unused: ".dockerignore"},
		"a link out":          {link: [2]string{"../../outside", ".dockerignore"}, unused: ".dockerignore"},
		"a link of the other": {link: [2]string{"x", "app/Dockerfile.dockerignore"}, unused: "Dockerfile.dockerignore"},
	} {
		t.Run(name, func(t *testing.T) {
			d, path := open(t, c.files)
			write(t, filepath.Join(path, "app/Dockerfile"), "")
			if c.link[0] != "" {
				if err := os.Symlink(c.link[0], filepath.Join(path, c.link[1])); err != nil {
					t.Fatal(err)
				}
			}
			dockerfile := filepath.Join(path, "app/Dockerfile")
			ignore, err := d.ReadIgnore(dockerfile)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, ignore.Patterns); diff != "" {
				t.Errorf("patterns (-want +got):\n%s", diff)
			}
			if got := d.UnusedIgnoreFile(dockerfile); got != c.unused {
				t.Errorf("unused file: got %q, want %q", got, c.unused)
			}
		})
	}
}

// A pipe may have no end, and a link out of the context may lead to one.
func TestOnlyARegularFileHasPatterns(t *testing.T) {
	d, path := open(t, nil)
	if err := unix.Mkfifo(filepath.Join(path, ".dockerignore"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := d.ReadIgnore(filepath.Join(path, "Dockerfile"))
	if want := "read .dockerignore: it is not a file"; err == nil || err.Error() != want {
		t.Errorf("a pipe: got error %v, want %q", err, want)
	}
}

// BenchmarkHash hashes 10,000 files of 4 KiB.
func BenchmarkHash(b *testing.B) {
	dir := b.TempDir()
	content := make([]byte, 4<<10)
	for i := range 10_000 {
		folder := filepath.Join(dir, fmt.Sprint(i/100))
		if err := os.MkdirAll(folder, 0o755); err != nil {
			b.Fatal(err)
		}
		content[i%len(content)]++
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprint(i)), content, fs.FileMode(0o644)); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		d, err := buildcontext.Open(dir, nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := d.Hash(b.Context(), nil); err != nil {
			b.Fatal(err)
		}
	}
}
