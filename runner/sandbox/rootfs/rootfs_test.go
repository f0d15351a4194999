package rootfs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/runner/sandbox/idmap"
	"slipway/runner/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m)) }

func TestSystemAccounts(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"passwd": {
			"root:x:0:0:Ms Admin:/root:/bin/bash\n_apt:x:42:65534::/nonexistent:/usr/sbin/nologin\n" +
				"ann:x:1000:1000:Ann,,,:/home/ann:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
			"root:x:0:0::/root:/bin/bash\n_apt:x:42:65534::/nonexistent:/usr/sbin/nologin\n" +
				"nobody:x:65534:65534::/nonexistent:/bin/false\n",
		},
		"group":                {"sudo:x:27:ann,bob\nann:x:1000:\nnogroup:x:65534:\n", "sudo:x:27:\nnogroup:x:65534:\n"},
		"an old password hash": {"root:$6$abc:0:0::/root:/bin/sh\n", "root:x:0:0::/root:/bin/sh\n"},
		"other lines":          {"# comment\n\n+@netgroup\nx:y\nbad:x:none:0::/:/\n", ""},
	} {
		if diff := cmp.Diff(tc.want, systemAccounts(tc.text)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
}

func TestHasCredential(t *testing.T) {
	for text, want := range map[string]bool{
		"deb https://deb.debian.org/debian bookworm main":     false,
		"deb https://ann:secret@apt.example.com/ stable main": true,
		`Acquire::http::Proxy "http://token@proxy:3128";`:     true,
		"# mail ann@example.com, see https://example.com/a@b": false,
		"https://example.com/ ann@example.com":                false,
	} {
		if got := hasCredential([]byte(text)); got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}

// write makes files with modes; a name with a final slash is a directory.
func write(t *testing.T, dir string, files map[string]os.FileMode) {
	t.Helper()
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range files {
			if !yield(name) {
				return
			}
		}
	}) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, files[name]); err != nil {
			t.Fatal(err)
		}
	}
}

func testFiles() map[string]os.FileMode {
	return map[string]os.FileMode{
		"bin/program":       0o755,
		"etc/key":           0o600,
		"etc/settings":      0o644,
		"etc/group":         0o640,
		"private/":          0o700,
		"private/sub/file":  0o644,
		"traverse/":         0o711,
		"traverse/unlisted": 0o644,
		"sticky/":           0o755 | os.ModeSticky,
		"sticky/secret":     0o400,
	}
}

func TestPrivateFilesAreFound(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, testFiles())
	got, err := findPrivate(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"etc/group", "etc/key", "private", "sticky/secret", "traverse"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestOnlyPublicFilesAreCopied(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "to")
	write(t, from, testFiles())
	if err := os.WriteFile(filepath.Join(from, "sources"), []byte("https://a:b@example.com"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/shadow", filepath.Join(from, "link")); err != nil {
		t.Fatal(err)
	}
	if err := copyTree(from, to); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"bin/program", "etc/settings", "link -> /etc/shadow"}, list(t, to)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if err := copyTree(filepath.Join(from, "absent"), to); err != nil {
		t.Errorf("nothing to copy: got %v, want no error", err)
	}
}

// list returns the files and links below a directory.
func list(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name := strings.TrimPrefix(path, dir+"/")
		if target, err := os.Readlink(path); err == nil {
			name += " -> " + target
		}
		names = append(names, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// newRoot makes a root file system, with a directory of the test beside the machine's.
func newRoot(t *testing.T, withoutIDMap bool, files ...File) (root, extra string, err error) {
	t.Helper()
	sandboxtest.NeedRoot(t)
	dir := sandboxtest.Dir(t)
	extra = filepath.Join(dir, "extra")
	write(t, extra, testFiles())
	host, err := NewHost(t.Context(), HostOptions{
		Dir:          filepath.Join(dir, "host"),
		Directories:  []string{extra},
		WithoutIDMap: withoutIDMap,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, name := range []string{"root", "workspace"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r, err := host.New(t.Context(), Options{
		Dir:       filepath.Join(dir, "root"),
		IDs:       idmap.IDs{First: 300_000, Count: idmap.Count},
		Workspace: Workspace{Dir: filepath.Join(dir, "workspace")},
		Files:     files,
	})
	if err != nil {
		return "", "", err
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r.Path(), extra, nil
}

func TestPrivateFilesAreHidden(t *testing.T) {
	for _, withoutIDMap := range []bool{false, true} {
		root, extra, err := newRoot(t, withoutIDMap)
		if err != nil {
			t.Fatal(err)
		}
		// Without a map, root of the sandbox is not the owner of the files, so their modes protect them.
		for _, name := range []string{"etc/key", "etc/group", "private", "traverse", "sticky/secret"} {
			info, err := os.Lstat(filepath.Join(root, extra, name))
			if err == nil && (!withoutIDMap || info.Sys().(*syscall.Stat_t).Uid == 300_000) {
				t.Errorf("without map %v, %s: got %v, want it hidden", withoutIDMap, name, info.Mode())
			}
		}
		info, err := os.Stat(filepath.Join(root, extra, "sticky"))
		if err != nil {
			t.Fatal(err)
		}
		if want := os.ModeDir | os.ModeSticky | 0o755; info.Mode() != want {
			t.Errorf("without map %v, a directory: got mode %v, want %v", withoutIDMap, info.Mode(), want)
		}
		if got := info.Sys().(*syscall.Stat_t).Uid; got != 300_000 {
			t.Errorf("without map %v, a directory: got owner %d, want 300000", withoutIDMap, got)
		}
	}
}

func TestFilesAreWrittenInside(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	root, _, err := newRoot(t, false,
		File{Path: "/new/directory/file", Data: []byte("a"), Mode: 0o600},
		File{Path: "/bin/tool", Data: []byte("b")}, // /bin is a link
		File{Path: "/etc/localtime", Data: []byte("c")},
		File{Path: "/../../etc/escape", Data: []byte("d")},
		File{Path: "/etc/passwd", Data: []byte("e"), Replace: true},
		File{Path: "/etc/absent", Data: []byte("f"), Replace: true},
	)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"new/directory/file": "a", "usr/bin/tool": "b", "etc/localtime": "c", "etc/escape": "d", "etc/passwd": "e",
	} {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil || string(text) != want {
			t.Errorf("%s: got %q and %v, want %q", name, text, err, want)
		}
	}
	if _, err := os.Lstat(filepath.Join(root, "etc/absent")); err == nil {
		t.Error("a replacement of an absent file: got a file, want none")
	}
	for _, name := range []string{"/usr/bin/tool", "/etc/escape"} {
		if _, err := os.Stat(name); err == nil {
			t.Errorf("got %s on this machine, want it in the sandbox only", name)
		}
	}
	// A link out of the root file system is not followed.
	if _, _, err := newRoot(t, false, File{Path: "/var/run/x", Data: []byte("e")}); err == nil {
		t.Error("through an absolute link: got no error, want one")
	}
	if _, err := os.Stat("/run/x"); err == nil {
		t.Error("got a file in /run of this machine, want none")
	}
}

func TestThePathMustFitIntoMountOptions(t *testing.T) {
	h := &Host{}
	for _, dir := range []string{"/a,b", "/a:b", `/a\b`} {
		if _, err := h.New(t.Context(), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "comma") {
			t.Errorf("%s: got %v, want an error", dir, err)
		}
	}
}

// A package of the machine may be removed between the search for private files and a start.
func TestRemovedPrivateFilesAreSkipped(t *testing.T) {
	sandboxtest.NeedRoot(t)
	dir, upper := t.TempDir(), t.TempDir()
	write(t, dir, map[string]os.FileMode{"there/key": 0o600})
	if err := hide(dir, upper, 300_000, []string{"removed/directory/key", "there/key", "key"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"key", "there/key"}, list(t, upper)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A copy needs whole blocks, and an inode for each directory.
func TestTheSizeOfACopyCountsBlocks(t *testing.T) {
	dir := t.TempDir()
	for name, bytes := range map[string]int{"empty": 0, "small": 1, "large": 4097} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, bytes), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	bytes, files, err := treeSize(dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := (info.Size()+4095)/4096*4096 + 3*4096; bytes != want {
		t.Errorf("bytes: got %d, want %d", bytes, want)
	}
	if want := int64(4); files != want {
		t.Errorf("files: got %d, want %d", files, want)
	}
}
