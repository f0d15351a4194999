// Package rootfs makes root file systems for sandboxes from an allow list of this machine's files.
//
// Directories with programs (/usr, and the package database) are mounted with a writable layer on the
// attempt's disk. Root of the sandbox owns them, and can install packages, and change or delete each
// file; the machine's own files stay as they are. Of /etc, only listed files are copied. Everything
// else is empty: no home directory, no /run, no /var of the machine.
//
// The kernel maps the owners of the machine's files to the sandbox's users (idmap). In rootless mode and
// before Linux 5.19 it cannot. Then a skeleton is used: a copy of all directories, without files, that
// belongs to root of the sandbox. New files work then, and existing ones can be deleted, but not
// changed.
//
// A sandbox may see old or new files of a package that is upgraded on the machine while the sandbox runs.
package rootfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"slipway/runner/sandbox/idmap"
)

// WorkspacePath is the directory of the sandbox where the workspace is mounted.
const WorkspacePath = "/workspace"

// InitPath is the file of the sandbox where the program of process 1 is mounted.
const InitPath = "/.slipway/init"

// A File is a file to write into a root file system.
type File struct {
	Path string // absolute, for example /etc/hosts
	Data []byte
	Mode os.FileMode // 0 = 0644
	// Replace writes the file only if the root file system already has a file at the path.
	Replace bool
}

// A Workspace is a directory that a sandbox shares.
type Workspace struct {
	Dir string
	// Owner is the user ID outside that owns Dir. Files of this user belong to root inside. New files of
	// root inside belong to this user outside.
	Owner int
	// Group is the group ID outside that owns Dir; 0 = the same number as Owner. A file of another group
	// cannot be written to.
	Group int
}

// Options configure Host.New. Dir, IDs and Workspace are required.
type Options struct {
	Dir       string // an empty directory on the attempt's disk, that all users can traverse
	IDs       idmap.IDs
	Workspace Workspace
	Files     []File // written last; they replace the machine's files
}

// A Root is a mounted root file system. The caller must close it.
type Root struct {
	dir string
}

// Path returns the directory that is / in the sandbox.
func (r *Root) Path() string { return filepath.Join(r.dir, "root") }

// Close unmounts the root file system with everything that is mounted in it. Its files remain on the disk.
func (r *Root) Close() error {
	if err := unix.Unmount(r.dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
		return fmt.Errorf("unmount a root file system: %w", err)
	}
	return nil
}

// New makes and mounts a root file system.
func (h *Host) New(ctx context.Context, o Options) (_ *Root, err error) {
	if strings.ContainsAny(o.Dir, `,:\`) {
		return nil, fmt.Errorf("make a root file system: the path %s has a comma, colon or backslash", o.Dir)
	}
	// The root is a separate mount. So Close unmounts everything below it with one call, and never
	// follows a path that the sandbox can change.
	if err := unix.Mount(o.Dir, o.Dir, "", unix.MS_BIND, ""); err != nil {
		return nil, fmt.Errorf("make a root file system: %w", err)
	}
	r := &Root{dir: o.Dir}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("make a root file system: %w", err), r.Close())
		}
	}()
	if err := unix.Mount("", o.Dir, "", unix.MS_PRIVATE, ""); err != nil {
		return nil, err
	}
	b := &builder{host: h, root: r.Path(), layers: filepath.Join(o.Dir, "layers"), ids: o.IDs}
	return r, b.build(ctx, o)
}

// A builder makes one root file system.
type builder struct {
	host   *Host
	root   string // becomes /
	layers string // directory of the layers of the overlays
	ids    idmap.IDs
	mapped *os.File // user namespace that maps the machine's IDs; nil = the kernel cannot
}

func (b *builder) build(ctx context.Context, o Options) error {
	if b.host.mapsIDs {
		namespace, err := idmap.Namespace(b.ids.Mappings())
		if err != nil {
			return err
		}
		defer namespace.Close()
		b.mapped = namespace
	}
	if err := b.makeBase(); err != nil {
		return err
	}
	for _, dir := range b.host.directories {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := b.addDirectory(ctx, dir); err != nil {
			return err
		}
	}
	if err := b.mountInit(); err != nil {
		return err
	}
	if err := b.mountWorkspace(o.Workspace); err != nil {
		return err
	}
	return writeFiles(b.root, b.ids.First, o.Files)
}

// makeBase makes the directories of / and the files of /etc. They are a writable layer on the base that
// all root file systems share. If the kernel cannot map the owners of the base, they are copies.
func (b *builder) makeBase() error {
	if err := os.MkdirAll(b.root, 0o755); err != nil { //nolint:gosec // G301: becomes / of the sandbox
		return err
	}
	if b.mapped != nil && b.host.base != "" {
		return b.overlay(b.host.base, "", layerOptions{name: "base"})
	}
	if err := writeBase(b.root); err != nil {
		return err
	}
	return chownTree(b.root, b.ids.First)
}

// writeBase writes the base of a root file system, with this process's user as the owner.
func writeBase(dir string) error {
	if err := makeTree(dir); err != nil {
		return err
	}
	if err := copyEtc("/etc", filepath.Join(dir, "etc")); err != nil {
		return err
	}
	return writeAccounts(filepath.Join(dir, "etc"))
}

// mountWorkspace mounts the workspace with its owner as root.
func (b *builder) mountWorkspace(w Workspace) error {
	target := filepath.Join(b.root, WorkspacePath)
	options := idmap.Options{Checked: true, Owner: w.Owner}
	if w.Owner != b.ids.First {
		group := cmp.Or(w.Group, w.Owner)
		namespace, err := idmap.NamespaceOf(b.ids.Owned(w.Owner), b.ids.Owned(group))
		if err != nil {
			return err
		}
		defer namespace.Close()
		options.Namespace = namespace
	}
	if err := idmap.Mount(w.Dir, target, options); err != nil {
		return fmt.Errorf("share the workspace: %w", err)
	}
	return nil
}

// mountInit mounts this program, as process 1 of the sandbox.
func (b *builder) mountInit() error {
	target := filepath.Join(b.root, InitPath)
	// An upgrade may have replaced the file at the path, or the path may be in another mount namespace.
	// In both cases, the program is copied.
	if path, err := os.Executable(); err == nil && sameFile(path, "/proc/self/exe") {
		options := idmap.Options{Namespace: b.mapped, ReadOnly: true}
		if idmap.Mount(path, target, options) == nil {
			return nil
		}
	}
	return copyFile("/proc/self/exe", target, 0o755)
}

func sameFile(a, b string) bool {
	first, err := os.Stat(a)
	if err != nil {
		return false
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second)
}
