// Package layers shares unpacked image layers between builders. Each layer is on the disk once, in a
// directory that builders can only read. A builder still downloads each layer itself, so it cannot use a
// layer that it may not read. Sharing saves the time and the disk space of unpacking.
package layers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"slipway/config/durable"
)

// A Pool is a directory of unpacked layers. A layer that is complete has a directory KEY and a file
// KEY.json.
type Pool struct {
	Dir string // absolute path
	// Write adds layers that are missing. Only one builder may add layers. It must not build untrusted
	// code, because all builders use its layers.
	Write bool
	// Missed is called after a layer was unpacked that is not in the pool. It may be nil.
	Missed func()
	// State is the directory of the builder's state, if the builder's snapshots are on a disk that only the
	// builder mounts; else empty. The links are recorded there, so that Links finds them.
	State string
}

// A Layer is the content of the file KEY.json.
type Layer struct {
	DiffID digest.Digest `json:"diff_id"` // digest of the layer's uncompressed tar file
	Bytes  int64         `json:"bytes"`   // disk space of the files
}

const (
	layerSuffix = ".json"
	lockFile    = "lock"
)

// Wrap returns an applier that uses the layers of the pool. If the pool has a layer, its snapshot
// becomes a symbolic link into the pool. overlayfs follows the link, and a snapshot's removal removes
// only the link.
func (p Pool) Wrap(next diff.Applier) diff.Applier { return applier{next, p} }

type applier struct {
	next diff.Applier
	pool Pool
}

// Apply implements diff.Applier. BuildKit calls it only for a blob in the builder's own content store.
// It compares the returned digest with the digest in the image's configuration.
func (a applier) Apply(
	ctx context.Context, blob ocispecs.Descriptor, mounts []mount.Mount, o ...diff.ApplyOpt,
) (ocispecs.Descriptor, error) {
	upper, lowers := overlayOf(mounts)
	key, ok := a.pool.key(blob.Digest, lowers)
	if upper == "" || !ok {
		return a.next.Apply(ctx, blob, mounts, o...)
	}
	layer, found, err := a.pool.link(key, upper)
	if err != nil {
		return ocispecs.Descriptor{}, err
	}
	if found {
		applied := blob
		applied.MediaType, applied.Digest = ocispecs.MediaTypeImageLayer, layer.DiffID
		return applied, nil
	}
	applied, err := a.next.Apply(ctx, blob, mounts, o...)
	if err != nil {
		return applied, err
	}
	if a.pool.Write {
		return applied, a.pool.add(key, upper, applied.Digest)
	}
	if a.pool.Missed != nil {
		a.pool.Missed()
	}
	return applied, nil
}

// overlayOf returns the directory of a snapshot's own files, and the directories of its parents, the
// nearest first. upper is empty if the snapshot is no overlay.
func overlayOf(mounts []mount.Mount) (upper string, lowers []string) {
	if len(mounts) != 1 {
		return "", nil
	}
	if mounts[0].Type == "bind" { // a snapshot without parents
		return mounts[0].Source, nil
	}
	for _, option := range mounts[0].Options {
		if dir, ok := strings.CutPrefix(option, "upperdir="); ok {
			upper = dir
		}
		if dirs, ok := strings.CutPrefix(option, "lowerdir="); ok {
			lowers = strings.Split(dirs, ":")
		}
	}
	return upper, lowers
}

// key returns the name of a layer in the pool. It depends on the parents, too. If the layer contains a
// directory only as part of a path, that directory gets its mode from the parents. ok is false if a
// parent is not in the pool.
func (p Pool) key(blob digest.Digest, lowers []string) (key string, ok bool) {
	parts := []string{blob.String()}
	for _, lower := range lowers {
		target, err := os.Readlink(lower)
		if err != nil || filepath.Dir(target) != p.Dir {
			return "", false
		}
		parts = append(parts, filepath.Base(target))
	}
	return digest.FromString(strings.Join(parts, "\n")).Encoded(), true
}

// link replaces an empty directory by a link to a layer. found is false if the pool does not have the
// layer. Under the lock, nothing is removed from the pool.
func (p Pool) link(key, upper string) (layer Layer, found bool, err error) {
	unlock, err := p.lock(unix.LOCK_SH)
	if err != nil {
		return layer, false, err
	}
	defer unlock()
	layer, err = p.read(key)
	if errors.Is(err, fs.ErrNotExist) {
		return layer, false, nil
	}
	if err == nil {
		err = p.record(filepath.Join(p.Dir, key))
	}
	if err == nil {
		err = replaceByLink(upper, filepath.Join(p.Dir, key))
	}
	if err != nil {
		return layer, false, fmt.Errorf("use the unpacked layer %s: %w", key, err)
	}
	return layer, true, nil
}

func replaceByLink(dir, target string) error {
	if err := os.Remove(dir); err != nil { // it fails if the directory is not empty
		return err
	}
	return os.Symlink(target, dir)
}

// add moves the files of a new snapshot to the pool. The layer counts only when its files are on the
// disk.
func (p Pool) add(key, upper string, diffID digest.Digest) error {
	entry := filepath.Join(p.Dir, key)
	bytes, err := diskUsage(upper)
	if err == nil {
		err = os.RemoveAll(entry) // a killed builder left it
	}
	if err == nil {
		err = os.Rename(upper, entry)
	}
	if err == nil {
		err = os.Symlink(entry, upper)
	}
	if err == nil {
		err = p.sync()
	}
	if err == nil {
		err = p.write(key, Layer{DiffID: diffID, Bytes: bytes})
	}
	if err != nil {
		return fmt.Errorf("share the layer %s: %w", key, err)
	}
	return nil
}

func (p Pool) sync() error {
	dir, err := os.Open(p.Dir)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }() // it was only read
	return unix.Syncfs(int(dir.Fd()))
}

func (p Pool) write(key string, layer Layer) error {
	text, err := json.Marshal(layer)
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(p.Dir, key+layerSuffix), text, 0o600)
}

func (p Pool) read(key string) (Layer, error) {
	var layer Layer
	text, err := os.ReadFile(filepath.Join(p.Dir, key+layerSuffix))
	if err != nil {
		return layer, err
	}
	return layer, json.Unmarshal(text, &layer)
}

// lock locks the pool: shared while a link is made, exclusive while layers are removed. With LOCK_NB it
// fails if another process has the lock.
func (p Pool) lock(how int) (unlock func(), err error) {
	file, err := os.Open(filepath.Join(p.Dir, lockFile))
	if err != nil {
		return nil, fmt.Errorf("lock the shared layers: %w", err)
	}
	if err := unix.Flock(int(file.Fd()), how); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("lock the shared layers: %w", err)
	}
	return func() { _ = file.Close() }, nil
}

// diskUsage returns the disk space of a directory in bytes.
func diskUsage(dir string) (sum int64, err error) {
	err = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var stat unix.Stat_t
		if err := unix.Lstat(path, &stat); err != nil {
			return err
		}
		sum += stat.Blocks * 512
		return nil
	})
	return sum, err
}
