package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// skeleton returns a copy of all directories of dir, without files. Root of the sandbox owns them. As
// the topmost read-only layer it makes each directory writable. It is made once for each owner.
func (h *Host) skeleton(ctx context.Context, dir string, owner int) (string, error) {
	name := strings.ReplaceAll(strings.Trim(dir, "/"), "/", "-") + "-" + strconv.Itoa(owner)
	h.mu.Lock() // held while the skeleton is made, because a second copy takes the same time
	defer h.mu.Unlock()
	if made := h.skeletons[name]; made != "" {
		return made, nil
	}
	to, err := os.MkdirTemp(h.dir, "skeleton-")
	if err != nil {
		return "", fmt.Errorf("make a skeleton of %s: %w", dir, err)
	}
	if err := makeSkeleton(ctx, dir, to, owner); err != nil {
		return "", errors.Join(fmt.Errorf("make a skeleton of %s: %w", dir, err), os.RemoveAll(to))
	}
	h.skeletons[name] = to
	return to, nil
}

func makeSkeleton(ctx context.Context, from, to string, owner int) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
			return fs.SkipDir
		}
		if err != nil || !d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // deleted meanwhile
		}
		if !isPublic(info.Mode()) {
			return fs.SkipDir
		}
		target := to + strings.TrimPrefix(path, from)
		//nolint:gosec // G301: changed below
		if err := os.Mkdir(target, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		//nolint:gosec // G122: the directory is ours alone
		if err := os.Lchown(target, owner, owner); err != nil {
			return err
		}
		return os.Chmod(target, info.Mode()&(fs.ModePerm|fs.ModeSticky)) //nolint:gosec // G122: as above
	})
}
