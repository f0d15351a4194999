package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"slipway/runner/sandbox/idmap"
)

// HostOptions configure NewHost. Dir is required.
type HostOptions struct {
	// Dir is a directory for files that all root file systems share, for this process alone. All users must
	// be able to traverse it and its parents.
	Dir string
	// Directories are further directories of this machine that sandboxes see, for example /opt/go.
	Directories []string
	// WithoutIDMap makes skeletons also where the kernel can map IDs. It is for tests.
	WithoutIDMap bool
}

// A Host has the list of this machine's files that sandboxes see. It is safe for concurrent use.
type Host struct {
	dir         string
	directories []string            // for example /usr; sorted, without links
	private     map[string][]string // paths that only their owner may read, by the directory above them
	mapsIDs     bool
	base        string // directory with the files of /etc and empty directories; empty = copied each time

	mu        sync.Mutex
	skeletons map[string]string // skeletons by directory and owner
}

// defaultDirectories have the machine's programs, and the database of installed packages. On most machines
// all but the first and the last are symbolic links.
func defaultDirectories() []string {
	return []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/var/lib/dpkg"}
}

// NewHost reads the files of this machine. The caller must close the host. It takes about a second,
// because it checks the mode of each file in /usr. Sandboxes do not see files that only their owner may
// read. It also copies the files of /etc. A Host ignores later changes of both, so call NewHost again
// from time to time.
func NewHost(ctx context.Context, o HostOptions) (*Host, error) {
	h := &Host{dir: o.Dir, private: map[string][]string{}, skeletons: map[string]string{}}
	if err := os.MkdirAll(o.Dir, 0o711); err != nil { //nolint:gosec // G301: sandboxes traverse it
		return nil, fmt.Errorf("prepare root file systems: %w", err)
	}
	for _, dir := range append(defaultDirectories(), o.Directories...) {
		if info, err := os.Lstat(dir); err == nil && info.IsDir() {
			h.directories = append(h.directories, filepath.Clean(dir))
		}
	}
	slices.Sort(h.directories)
	h.directories = slices.Compact(h.directories)
	if !slices.Contains(h.directories, "/usr") {
		return nil, errors.New("prepare root file systems: /usr is not a directory")
	}
	h.mapsIDs = !o.WithoutIDMap && tryMappedOverlay(o.Dir, "/usr") == nil
	if !h.mapsIDs {
		return h, h.prepareSkeletons()
	}
	if err := h.prepareBase(); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare root file systems: %w", err), h.Close())
	}
	for _, dir := range h.directories {
		private, err := findPrivate(ctx, dir)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("prepare root file systems: %w", err), h.Close())
		}
		h.private[dir] = private
	}
	return h, nil
}

// prepareSkeletons mounts a tmpfs for skeletons. Making directories is faster there than on a disk, and
// the kernel removes them with the process. Each needs 1 KB of memory.
func (h *Host) prepareSkeletons() error {
	if err := unix.Mount("tmpfs", h.dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0711"); err != nil {
		return fmt.Errorf("prepare root file systems: %w", err)
	}
	return nil
}

// prepareBase writes the files of /etc for all root file systems. The kernel cannot map the owners of
// some file systems, for example NFS. Then each root file system gets copies.
func (h *Host) prepareBase() error {
	base, err := os.MkdirTemp(h.dir, "base-")
	if err != nil {
		return err
	}
	h.base = base
	if err := os.Chmod(base, 0o755); err != nil { //nolint:gosec // G302: becomes / of sandboxes
		return err
	}
	if err := writeBase(base); err != nil {
		return err
	}
	if tryMappedOverlay(h.dir, base) == nil {
		return nil
	}
	h.base = ""
	return os.RemoveAll(base)
}

// Close removes the files that all root file systems share. No root file system may be mounted any more.
func (h *Host) Close() error {
	if h.mapsIDs && h.base != "" {
		if err := os.RemoveAll(h.base); err != nil {
			return fmt.Errorf("remove the base of root file systems: %w", err)
		}
	}
	if h.mapsIDs {
		return nil
	}
	if err := unix.Unmount(h.dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
		return fmt.Errorf("remove the skeletons of root file systems: %w", err)
	}
	return nil
}

// Copied returns the bytes and the number of files that each root file system has as copies of this
// machine's. Both are 0 if the kernel can map IDs. Otherwise the package database is copied, which has a
// few files for each installed package.
func (h *Host) Copied() (bytes, files int64, err error) {
	if h.MapsIDs() {
		return 0, 0, nil
	}
	bytes, files, err = treeSize(packageDatabase)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil // not a Debian
	}
	if err != nil {
		return 0, 0, fmt.Errorf("measure %s: %w", packageDatabase, err)
	}
	return bytes, files, nil
}

// MapsIDs reports whether the kernel maps the owners of this machine's files, so that sandboxes can change
// them. If not, all sandboxes should use the same IDs, because a skeleton takes a second or more.
func (h *Host) MapsIDs() bool { return h.mapsIDs }

// tryMappedOverlay mounts an overlay on a mapped directory of the machine, and returns the error. Linux 5.12 has mapped
// mounts, but only 5.19 overlays on them.
func tryMappedOverlay(parent, dir string) error {
	scratch, err := os.MkdirTemp(parent, "try-")
	if err != nil {
		return err
	}
	defer os.Remove(scratch)
	if err := unix.Mount("tmpfs", scratch, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=1m"); err != nil {
		return err
	}
	defer unix.Unmount(scratch, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) //nolint:errcheck // it was mounted
	ids := idmap.IDs{First: 1 << 20, Count: idmap.Count}
	namespace, err := idmap.Namespace(ids.Mappings())
	if err != nil {
		return err
	}
	defer namespace.Close()
	b := &builder{
		root:   filepath.Join(scratch, "root"),
		layers: filepath.Join(scratch, "layers"),
		ids:    ids,
		mapped: namespace,
	}
	if err := os.Mkdir(b.root, 0o755); err != nil { //nolint:gosec // G301: unmounted at once
		return err
	}
	return b.overlay(dir, "", layerOptions{name: "try"})
}
