package localcontext

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/buildkit/cache/contenthash"
	"github.com/moby/buildkit/source/local"
	digest "github.com/opencontainers/go-digest"
	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"
	"golang.org/x/sys/unix"
)

// needRoot skips a test that changes owners or makes devices if it does not run as root.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: needs root, as builders are in their namespace")
	}
}

// The copy has the same files and hashes as a transfer by fsutil, BuildKit's package for build
// contexts. So a cache of a copied context works for a sent context too.
func TestACopyEqualsATransfer(t *testing.T) {
	needRoot(t)
	from := t.TempDir()
	plant(t, from)
	for name, c := range map[string]struct {
		request local.LocalIdentifier
		files   int
	}{
		"all":                      {local.LocalIdentifier{}, 21},
		"without a file":           {local.LocalIdentifier{ExcludePatterns: []string{"ignored"}}, 20},
		"without a link's first":   {local.LocalIdentifier{ExcludePatterns: []string{"another name"}}, 20},
		"without a folder but one": {local.LocalIdentifier{ExcludePatterns: []string{"deep/*", "!deep/deeper"}}, 19},
		"a folder":                 {local.LocalIdentifier{IncludePatterns: []string{"deep"}}, 6},
		"what a link leads to":     {local.LocalIdentifier{FollowPaths: []string{"link"}}, 3},
		"what a Dockerfile copies": {local.LocalIdentifier{FollowPaths: []string{"program", "zz*"}, ExcludePatterns: []string{"ignored"}}, 2},
		"nothing":                  {local.LocalIdentifier{FollowPaths: []string{"none"}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			sent, copied := t.TempDir(), t.TempDir()
			var want, got notified
			transferFiles(t, sentBy(t, from, c.request), sent, want.note)
			files, err := contextCopy{source: contextSource{dir: from}, request: &c.request}.files()
			if err != nil {
				t.Fatal(err)
			}
			if err := copyFiles(t.Context(), files, copied, got.note); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want.hashes, got.hashes); diff != "" || len(got.hashes) != c.files {
				t.Errorf("got %d notifications, want %d:\n%s", len(got.hashes), c.files, diff)
			}
			if diff := cmp.Diff(readTree(t, sent), readTree(t, copied)); diff != "" {
				t.Errorf("copied files (-want +got):\n%s", diff)
			}
		})
	}
}

// sentBy returns a directory in the form in which BuildKit's client and its session send it
// (client/solve.go, session/filesync).
func sentBy(t *testing.T, dir string, request local.LocalIdentifier) fsutil.FS {
	t.Helper()
	all, err := fsutil.NewFS(dir)
	if err != nil {
		t.Fatal(err)
	}
	ofRoot, err := fsutil.NewFilterFS(all, &fsutil.FilterOpt{Map: func(_ string, stat *types.Stat) fsutil.MapResult {
		stat.Uid, stat.Gid = 0, 0
		return fsutil.MapResultKeep
	}})
	if err != nil {
		t.Fatal(err)
	}
	some, err := fsutil.NewFilterFS(
		ofRoot,
		&fsutil.FilterOpt{
			IncludePatterns: request.IncludePatterns,
			ExcludePatterns: request.ExcludePatterns,
			FollowPaths:     request.FollowPaths,
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	return some
}

// plant makes a file of each kind that a repository may contain, and some unusual kinds.
func plant(t *testing.T, dir string) {
	t.Helper()
	at := func(path string) string { return filepath.Join(dir, path) }
	long := bytes.Repeat([]byte("0123456789abcdef"), copyBuffer/4)
	err := errors.Join(
		os.MkdirAll(at("deep/deeper/deepest"), 0o755),
		os.Mkdir(at("sticky"), 0o700),
		os.Chmod(at("sticky"), 0o777|fs.ModeSticky),
		os.Mkdir(
			at("of a group"),
			0o700,
		),
		os.Chown(at("of a group"), 0, 7),
		os.Chmod(at("of a group"), 0o775|fs.ModeSetgid),
		os.WriteFile(at("of a group/file"), []byte("its group is root all the same"), 0o664),
		os.WriteFile(at("deep/long"), long, 0o644),
		os.WriteFile(at("deep/as long as a buffer"), long[:copyBuffer], 0o644),
		os.WriteFile(at("deep/deeper/empty"), nil, 0o644),
		os.WriteFile(
			at("no one's"),
			[]byte("secret"),
			0o600,
		),
		os.Chown(at("no one's"), 65534, 65534),
		os.Chmod(at("no one's"), 0),
		os.WriteFile(
			at("program"),
			[]byte("#!/bin/sh\n"),
			0o600,
		),
		os.Chown(at("program"), 9, 9),
		os.Chmod(at("program"), 0o755|fs.ModeSetuid|fs.ModeSetgid),
		os.Link(
			at("deep/long"),
			at("another name"),
		),
		os.Link(at("deep/long"), at("zzz")), // the walk reads another name first
		os.Symlink("nowhere", at("dangling")),
		os.Symlink("deep/long", at("link")),
		os.WriteFile(at("caf\xe9"), []byte("a name is bytes"), 0o640),
		unix.Mkfifo(at("fifo"), 0o640),
		unix.Mknod(at("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))),
		os.WriteFile(at("ignored"), []byte("not for the builder"), 0o644),
		os.WriteFile(at("with attributes"), []byte("if it can have them"), 0o644),
		os.Chtimes(at("deep/deeper"), time.Time{}, time.Unix(1, 987654321)),
		os.Chtimes(at("deep/long"), time.Time{}, time.Unix(-1, 5)),
	)
	if err != nil {
		t.Fatal(err)
	}
	socket, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", at("socket"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	marked := at("with attributes")
	if err := unix.Setxattr(marked, "user.mark", []byte("mark"), 0); err != nil && !errors.Is(err, unix.ENOTSUP) {
		t.Fatal(err)
	}
	// cap_net_raw=ep; a change of the owner removes it
	raw := []byte{1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	err = unix.Setxattr(marked, "security.capability", raw, 0)
	if err != nil && !errors.Is(err, unix.ENOTSUP) {
		t.Fatal(err)
	}
}

// notified holds the hashes of files, by name.
type notified struct {
	mu     sync.Mutex
	hashes map[string]digest.Digest
}

func (n *notified) note(kind fsutil.ChangeKind, path string, info fs.FileInfo, err error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	hashed, ok := info.(contenthash.Hashed)
	if !ok || err != nil || kind != fsutil.ChangeKindAdd || info.Sys().(*types.Stat).Path != path {
		return fmt.Errorf("%s: %v, %T, %w", path, kind, info, err)
	}
	if n.hashes == nil {
		n.hashes = map[string]digest.Digest{}
	}
	if _, twice := n.hashes[path]; twice {
		return fmt.Errorf("%s: got two notifications, want one", path)
	}
	n.hashes[path] = hashed.Digest()
	return nil
}

// transferFiles sends files like BuildKit does between two machines, but without a network.
func transferFiles(t *testing.T, files fsutil.FS, dir string, note fsutil.ChangeFunc) {
	t.Helper()
	here, there := make(chan []byte), make(chan []byte)
	sent := make(chan error, 1)
	go func() {
		defer close(here)
		sent <- fsutil.Send(t.Context(), wire{t.Context(), here, there}, files, nil)
	}()
	received := fsutil.Receive(
		t.Context(),
		wire{t.Context(), there, here},
		dir,
		fsutil.ReceiveOpt{NotifyHashed: note, ContentHasher: contenthash.NewFromStat},
	)
	if err := errors.Join(received, <-sent); err != nil {
		t.Fatal(err)
	}
}

// A wire passes fsutil's packets from one side to the other.
type wire struct {
	ctx      context.Context
	to, from chan []byte
}

func (w wire) Context() context.Context { return w.ctx }

func (w wire) SendMsg(m any) error {
	text, err := m.(*types.Packet).MarshalVT()
	if err != nil {
		return err
	}
	select {
	case w.to <- text:
	case <-w.ctx.Done():
	}
	return w.ctx.Err()
}

func (w wire) RecvMsg(m any) error {
	select {
	case text, open := <-w.from:
		if !open {
			return io.EOF
		}
		return m.(*types.Packet).UnmarshalVT(text)
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
}

// readTree returns all files below a directory.
func readTree(t *testing.T, dir string) map[string]string {
	t.Helper()
	tree, links := map[string]string{}, map[uint64]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		sys := info.Sys().(*syscall.Stat_t)
		name, content := path[len(dir)+1:], ""
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content = digest.FromBytes(data).String() + " linked to " + links[sys.Ino]
			links[sys.Ino] = name
		case info.Mode()&fs.ModeSymlink != 0:
			if content, err = os.Readlink(path); err != nil {
				return err
			}
		}
		attributes, err := readAttributes(path)
		if err != nil {
			return err
		}
		tree[name] = fmt.Sprintf(
			"%s %d:%d %s dev %d %q %s",
			info.Mode(),
			sys.Uid,
			sys.Gid,
			info.ModTime().UTC(),
			sys.Rdev,
			attributes,
			content,
		)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func readAttributes(path string) (map[string]string, error) {
	names := make([]byte, 1024)
	n, err := unix.Llistxattr(path, names)
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		value := make([]byte, 1024)
		if n, err := unix.Lgetxattr(path, name, value); name != "" && err == nil {
			all[name] = string(value[:n])
		}
	}
	return all, nil
}
