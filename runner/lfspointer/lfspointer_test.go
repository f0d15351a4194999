package lfspointer_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"slipway/runner/lfspointer"
)

const pointer = "version https://git-lfs.github.com/spec/v1\n" +
	"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"

func TestFind(t *testing.T) {
	for name, row := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"none":                  {map[string]string{"a": "text\n"}, nil},
		"a pointer":             {map[string]string{"model.bin": pointer}, []string{"model.bin"}},
		"several, sorted":       {map[string]string{"z/b": pointer, "a": pointer}, []string{"a", "z/b"}},
		"an extension's line":   {map[string]string{"a": strings.Replace(pointer, "oid", "ext-0-x sha256:1\noid", 1)}, []string{"a"}},
		"without an oid":        {map[string]string{"a": strings.Split(pointer, "oid")[0] + "more text"}, nil},
		"a large file":          {map[string]string{"a": pointer + strings.Repeat("x", 1024)}, nil},
		"text about a pointer":  {map[string]string{"a": "# " + pointer}, nil},
		"an ignored pointer":    {map[string]string{"a/model.bin": pointer, ".dockerignore": "**/*.bin\n"}, nil},
		"an exception":          {map[string]string{"a.bin": pointer, "b.bin": pointer, ".dockerignore": "*.bin\n!b.bin\n"}, []string{"b.bin"}},
		"the Dockerfile's file": {map[string]string{"a.bin": pointer, ".dockerignore": "", "Dockerfile.dockerignore": "*.bin\n"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, content := range row.files {
				path := filepath.Join(dir, file)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := lfspointer.Find(t.Context(), dir, filepath.Join(dir, "Dockerfile"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("pointers (-want +got):\n%s", diff)
			}
		})
	}
}

// BuildKit treats such a link as absent, so the file with the pointer is in the image.
func TestALinkOutOfTheContextIgnoresNothing(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "patterns"), []byte("*.bin\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(outside, "patterns"), filepath.Join(dir, ".dockerignore")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "model.bin"), []byte(pointer), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := lfspointer.Find(t.Context(), dir, filepath.Join(dir, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"model.bin"}, got); diff != "" {
		t.Errorf("pointers (-want +got):\n%s", diff)
	}
}

// The build needs no file that no step copies.
func TestUnreadableFilesAreLeftOut(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a/closed", "b"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(pointer), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "a/closed"), 0); err != nil {
		t.Fatal(err)
	}
	var got []string
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // the thread ends with this goroutine
		const nobody = 65534
		if os.Geteuid() == 0 {
			err = unix.Setfsuid(nobody) // root may read every file
		}
		if err == nil {
			got, err = lfspointer.Find(t.Context(), dir, filepath.Join(dir, "Dockerfile"))
		}
	}()
	<-done
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"b"}, got); diff != "" {
		t.Errorf("pointers (-want +got):\n%s", diff)
	}
}

func TestAnInvalidIgnoreFileIsAnError(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".dockerignore"), []byte("[\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := lfspointer.Find(t.Context(), dir, filepath.Join(dir, "Dockerfile")); err == nil {
		t.Error("got no error, want one")
	}
}
