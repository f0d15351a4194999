package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/sys/userns"
	"golang.org/x/sys/unix"

	"slipway/runner/sandbox/idmap"
)

// packageDatabase is written by dpkg at each installation.
const packageDatabase = "/var/lib/dpkg"

// addDirectory adds a directory of the machine to the root file system.
func (b *builder) addDirectory(ctx context.Context, dir string) error {
	target := filepath.Join(b.root, dir)
	if err := b.makeParents(dir); err != nil {
		return err
	}
	if b.mapped != nil {
		return b.overlay(dir, dir, layerOptions{name: layerName(dir), hidden: b.host.private[dir]})
	}
	if dir == packageDatabase {
		// dpkg writes to existing files, and without a map no existing file can be changed.
		if err := copyTree(dir, target); err != nil {
			return err
		}
		return chownTree(target, b.ids.First)
	}
	skeleton, err := b.host.skeleton(ctx, dir, b.ids.First)
	if err != nil {
		return err
	}
	// Without a map, root of the sandbox cannot read private files, so none are hidden.
	return b.overlay(dir, dir, layerOptions{name: layerName(dir), skeleton: skeleton})
}

// makeParents makes the mount point of a directory, and gives it and its parents to root of the sandbox.
func (b *builder) makeParents(dir string) error {
	path := b.root
	for name := range strings.SplitSeq(strings.Trim(dir, "/"), "/") {
		path = filepath.Join(path, name)
		err := os.Mkdir(path, 0o755) //nolint:gosec // G301: as on each machine
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := os.Lchown(path, b.ids.First, b.ids.First); err != nil {
			return err
		}
	}
	return nil
}

// layerName returns the name of a directory's layer, for example "var-lib-dpkg".
func layerName(dir string) string { return strings.ReplaceAll(strings.Trim(dir, "/"), "/", "-") }

// layerOptions configure the writable layer of an overlay.
type layerOptions struct {
	name     string   // unique in the root file system
	skeleton string   // topmost read-only layer; may be empty
	hidden   []string // paths below the directory that the sandbox does not see
}

// overlay mounts a directory of the machine with a writable layer, at a path of the sandbox.
// https://docs.kernel.org/filesystems/overlayfs.html
func (b *builder) overlay(dir, path string, o layerOptions) error {
	layer := filepath.Join(b.layers, o.name)
	upper, work, lower := filepath.Join(layer, "upper"), filepath.Join(layer, "work"), dir
	for _, path := range []string{upper, work} {
		if err := os.MkdirAll(path, 0o755); err != nil { //nolint:gosec // G301: the sandbox sees upper
			return err
		}
	}
	if err := os.Chown(upper, b.ids.First, b.ids.First); err != nil {
		return err
	}
	if err := hide(dir, upper, b.ids.First, o.hidden); err != nil {
		return err
	}
	options := ""
	if b.mapped != nil {
		lower = filepath.Join(layer, "lower")
		if err := os.Mkdir(lower, 0o755); err != nil { //nolint:gosec // G301: only a mount point
			return err
		}
		if err := idmap.Mount(dir, lower, idmap.Options{Namespace: b.mapped, ReadOnly: true}); err != nil {
			return err
		}
		// Nothing of the layer is kept, so nothing needs to be synced. dpkg syncs each file.
		options += ",volatile"
	}
	if userns.RunningInUserNS() {
		options += ",userxattr"
	}
	if o.skeleton != "" {
		lower = o.skeleton + ":" + lower
	}
	data := "lowerdir=" + lower + ",upperdir=" + upper + ",workdir=" + work + options
	target := filepath.Join(b.root, path)
	if err := unix.Mount("overlay", target, "overlay", unix.MS_NOSUID|unix.MS_NODEV, data); err != nil {
		return fmt.Errorf("mount a writable layer on %s: %w", dir, err)
	}
	return nil
}
