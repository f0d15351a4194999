package confine

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Share gives directories and all files in them to the hooks of this sandbox, before they run. The step
// keeps its access. The paths are absolute. Share must not be called while a hook runs. If hooks run as
// another user, the parent of each directory becomes traversable for all users, but not readable.
func (s *Sandbox) Share(dirs ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shared = append(s.shared, dirs...)
	if s.level != LevelUser {
		return nil
	}
	for _, dir := range dirs {
		if err := makeReachable(dir); err != nil {
			return err
		}
		if err := s.giveAway(dir); err != nil {
			return fmt.Errorf("make build hooks the owner of %s: %w", dir, err)
		}
	}
	return nil
}

// giveAway makes the hook's user the owner of a tree. It follows no symbolic link.
func (s *Sandbox) giveAway(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return root.Lchown(path, s.ids.Hook, s.ids.Hook)
	})
}

// makeReachable makes the parent of a directory traversable, and checks the directories above.
func makeReachable(dir string) error {
	const traverse = 0o001
	parent := filepath.Dir(dir)
	info, err := os.Stat(parent)
	if err != nil {
		return err
	}
	if err := os.Chmod(parent, info.Mode().Perm()|traverse); err != nil {
		return err
	}
	for above := filepath.Dir(parent); ; above = filepath.Dir(above) {
		info, err := os.Stat(above)
		if err != nil {
			return err
		}
		if info.Mode().Perm()&traverse == 0 {
			return fmt.Errorf("build hooks run as another user, who cannot enter %s: "+
				"set SLIPWAY_WORKDIR to a directory that all users can enter", above)
		}
		if above == filepath.Dir(above) {
			return nil
		}
	}
}
