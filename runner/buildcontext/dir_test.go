package buildcontext_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"
	"golang.org/x/sys/unix"

	"slipway/runner/buildcontext"
)

// open makes a directory of files and opens it. A path with a slash at its end is a directory.
func open(t *testing.T, files map[string]string) (d *buildcontext.Dir, path string) {
	t.Helper()
	path = t.TempDir()
	if err := os.Chmod(filepath.Dir(path), 0o755); err != nil { // other users may read it
		t.Fatal(err)
	}
	for name, content := range files {
		write(t, filepath.Join(path, name), content)
	}
	d, err := buildcontext.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d, path
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := errors.Join(
		os.MkdirAll(filepath.Dir(path), 0o755),
		os.WriteFile(path, []byte(content), 0o644),
	); err != nil {
		t.Fatal(err)
	}
}

// list returns the paths below a directory with the targets of hard links.
func list(ctx context.Context, files fsutil.FS) (map[string]string, error) {
	found := map[string]string{}
	err := files.Walk(ctx, "/", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		found[path] = info.Sys().(*types.Stat).Linkname
		return nil
	})
	return found, err
}

func read(t *testing.T, files fsutil.FS, path string) (string, error) {
	t.Helper()
	file, err := files.Open(path)
	if err != nil {
		t.Fatalf("open %s: got error %v, want one of the first Read", path, err)
	}
	defer file.Close()
	content, err := io.ReadAll(file)
	return string(content), err
}

// needRoot skips a test that needs root.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: needs root, which is absent")
	}
}

// onOwnThread calls f on a thread that ends with f, so f may change the thread.
func onOwnThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		f()
	}()
	<-done
}

// asNobody calls f with the file permissions of an ordinary user.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	needRoot(t)
	const nobody = 65534
	onOwnThread(func() {
		if err := unix.Setfsuid(nobody); err != nil {
			t.Error(err)
			return
		}
		f()
	})
}

// The error of an unreadable file comes from its first Read, because fsutil ignores that of Open and sends an
// empty file.
func TestAnUnreadableFileFails(t *testing.T) {
	d, path := open(t, map[string]string{"dir/s.txt": "secret", "open": "x"})
	if err := os.Chmod(filepath.Join(path, "dir/s.txt"), 0); err != nil {
		t.Fatal(err)
	}
	asNobody(t, func() {
		if got, err := read(t, d, "open"); got != "x" || err != nil {
			t.Errorf("readable file: got %q, error %v, want x", got, err)
		}
		if err := d.Err(); err != nil {
			t.Errorf("recorded error before: got %v, want none", err)
		}
		_, err := read(t, d, "dir/s.txt")
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("unreadable file: got error %v, want %v", err, fs.ErrPermission)
		}
		if err := d.Err(); err == nil || err.Path != "dir/s.txt" {
			t.Errorf("recorded error: got %v, want one of dir/s.txt", err)
		}
		const want = "read the build context: dir/s.txt: permission denied: make it readable"
		if err := d.Err(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("text of the error: got %v, want %q at its beginning", err, want)
		}
	})
}

// A directory fails if the visitor needs its files.
func TestAnUnreadableDirectoryFails(t *testing.T) {
	for name, mode := range map[string]fs.FileMode{"not listed": 0o711, "listed": 0o744} {
		t.Run(name, func(t *testing.T) {
			d, path := open(t, map[string]string{"dir/f": "", "other": ""})
			if err := os.Chmod(filepath.Join(path, "dir"), mode); err != nil {
				t.Fatal(err)
			}
			asNobody(t, func() {
				without, err := fsutil.NewFilterFS(d, &fsutil.FilterOpt{ExcludePatterns: []string{"dir"}})
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := list(t.Context(), without); err != nil || d.Err() != nil || len(got) != 1 {
					t.Errorf("excluded directory: got %v, error %v, want one file", got, err)
				}
				if _, err := list(t.Context(), d); !errors.Is(err, fs.ErrPermission) {
					t.Errorf("directory: got error %v, want %v", err, fs.ErrPermission)
				}
				if err := d.Err(); err == nil || !strings.HasPrefix(err.Path, "dir") {
					t.Errorf("recorded error: got %v, want one of dir", err)
				}
			})
		})
	}
}

// No pattern excludes the file of patterns.
func TestTheFixFitsTheFile(t *testing.T) {
	for path, want := range map[string]string{
		"dir/s.txt":               "or list it in .dockerignore",
		".dockerignore":           "for the user of this build",
		"Dockerfile.dockerignore": "for the user of this build",
		".":                       "for the user of this build",
	} {
		err := &buildcontext.ReadError{Path: path, Err: fs.ErrPermission}
		if !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: got %q, want %q at its end", path, err, want)
		}
	}
}

// fsutil takes an unreadable context for an empty one.
func TestAnUnreadableContextFails(t *testing.T) {
	d, path := open(t, map[string]string{"f": ""})
	if err := os.Chmod(path, 0o711); err != nil {
		t.Fatal(err)
	}
	asNobody(t, func() {
		if got, err := list(t.Context(), d); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("got files %v, error %v, want %v", got, err, fs.ErrPermission)
		}
		if err := d.Err(); err == nil || err.Path != "." {
			t.Errorf("recorded error: got %v, want one of the context itself", err)
		}
	})
}

// fsutil sends a deleted file as an empty one.
func TestAFileThatIsDeletedMeanwhileFails(t *testing.T) {
	d, _ := open(t, nil)
	if _, err := read(t, d, "gone"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("deleted file: got error %v, want %v", err, fs.ErrNotExist)
	}
	if err := d.Err(); err == nil ||
		!strings.Contains(err.Error(), "gone: no such file or directory: it was deleted while") {
		t.Errorf("recorded error: got %v, want that the file was deleted", err)
	}
}

// A file may be deleted after its directory was listed. fsutil then skips the other files of the directory.
func TestADeletedFileDoesNotHideOthers(t *testing.T) {
	d, path := open(t, map[string]string{"dir/a": "", "dir/b": "", "dir/c": "", "e": ""})
	var got []string
	err := d.Walk(t.Context(), "/", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name == "dir/a" {
			if err := os.Remove(filepath.Join(path, "dir/b")); err != nil {
				return err
			}
		}
		if _, err := entry.Info(); err != nil {
			return err
		}
		got = append(got, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"dir", "dir/a", "dir/c", "e"}, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestASocketIsEmpty(t *testing.T) {
	d, path := open(t, nil)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(path, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if got, err := read(t, d, "s"); got != "" || err != nil {
		t.Errorf("socket: got %q, error %v, want an empty file", got, err)
	}
}

// Files of two file systems may have the same number of the inode.
func TestHardLinksStayOnTheirFileSystem(t *testing.T) {
	needRoot(t)
	d, path := open(t, map[string]string{"one/x": "", "two/x": ""})
	onOwnThread(func() {
		err := errors.Join(
			unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS),
			unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		)
		for _, name := range []string{"one", "two"} {
			dir := filepath.Join(path, name)
			err = errors.Join(err, unix.Mount("none", dir, "tmpfs", 0, ""),
				os.WriteFile(filepath.Join(dir, "a"), []byte("content of "+name), 0o600),
				os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "b")))
		}
		var first, second unix.Stat_t
		err = errors.Join(err, unix.Stat(path+"/one/a", &first), unix.Stat(path+"/two/a", &second))
		if err != nil {
			t.Error(err)
			return
		}
		if first.Ino != second.Ino {
			t.Errorf("inodes: got %d and %d, want the same for this test", first.Ino, second.Ino)
		}
		got, err := list(t.Context(), d)
		if err != nil {
			t.Error(err)
		}
		want := map[string]string{
			"one": "", "one/a": "", "one/b": "one/a",
			"two": "", "two/a": "", "two/b": "two/a",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("hard links (-want +got):\n%s", diff)
		}
	})
}

func TestHardLinksOfOneFileSystem(t *testing.T) {
	d, path := open(t, map[string]string{"a": "1", "dir/c": "2"})
	for link, target := range map[string]string{"b": "a", "dir/d": "a", "dir/e": "dir/c"} {
		if err := os.Link(filepath.Join(path, target), filepath.Join(path, link)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := list(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"a": "", "b": "a", "dir": "", "dir/c": "", "dir/d": "a", "dir/e": "dir/c"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("hard links (-want +got):\n%s", diff)
	}
}
