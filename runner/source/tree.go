package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A Tree is a checked-out commit. Its content is not trusted: use Resolve, File or Directory for every
// path.
type Tree struct {
	Dir    string
	Commit string
}

// A PathError reports a path of the tree that cannot be used.
type PathError struct {
	Path    string
	Problem string
	Err     error
}

// Error returns the quoted path and the problem.
func (e *PathError) Error() string { return fmt.Sprintf("%q %s", e.Path, e.Problem) }

// Unwrap returns the operating system's error.
func (e *PathError) Unwrap() error { return e.Err }

// Resolve returns the real path of p, which is relative to the tree's root. It follows symbolic links
// within the tree and refuses links that leave it. It returns *PathError, which wraps fs.ErrNotExist if
// the path does not exist.
func (t Tree) Resolve(p string) (string, error) {
	root, err := os.OpenRoot(t.Dir)
	if err != nil {
		return "", fmt.Errorf("open the source tree: %w", err)
	}
	defer root.Close()
	if strings.Contains(p, `\`) || !filepath.IsLocal(p) {
		return "", &PathError{Path: p, Problem: "is not a path within the repository", Err: fs.ErrInvalid}
	}
	if _, err := root.Stat(p); err != nil {
		return "", explain(p, err)
	}
	top, err := filepath.EvalSymlinks(t.Dir)
	if err != nil {
		return "", fmt.Errorf("resolve the source tree: %w", err)
	}
	real, err := filepath.EvalSymlinks(filepath.Join(top, p))
	if err != nil {
		return "", explain(p, err)
	}
	if real != top && !strings.HasPrefix(real, top+string(filepath.Separator)) {
		return "", explain(p, fs.ErrInvalid)
	}
	return real, nil
}

// File does the same as Resolve for a regular file.
func (t Tree) File(p string) (string, error) {
	return t.resolveKind(p, fs.FileMode.IsRegular, "is not a file")
}

// dockerfileName is the usual name of a Dockerfile.
const dockerfileName = "Dockerfile"

// Dockerfile does the same as File for a Dockerfile. If p names a file Dockerfile that does not exist or is no
// file, it uses the file dockerfile beside it, as BuildKit does.
func (t Tree) Dockerfile(p string) (string, error) {
	real, err := t.File(p)
	if err == nil || filepath.Base(p) != dockerfileName {
		return real, err
	}
	lower, lowerErr := t.File(filepath.Join(filepath.Dir(p), strings.ToLower(dockerfileName)))
	if lowerErr != nil {
		return "", err
	}
	return lower, nil
}

// Relative returns an absolute path below the tree's root as a path relative to the root, and any other path
// unchanged. It reads only the links of the root itself; use Resolve, File or Directory for the result.
func (t Tree) Relative(p string) string {
	if !filepath.IsAbs(p) {
		return p
	}
	tops := []string{t.Dir}
	if real, err := filepath.EvalSymlinks(t.Dir); err == nil {
		tops = append(tops, real)
	}
	for _, top := range tops {
		if inside, err := filepath.Rel(top, p); err == nil && filepath.IsLocal(inside) {
			return inside
		}
	}
	return p
}

// Directory does the same as Resolve for a directory.
func (t Tree) Directory(p string) (string, error) {
	return t.resolveKind(p, fs.FileMode.IsDir, "is not a directory")
}

// HasSubmodules reports whether the commit declares submodules.
func (t Tree) HasSubmodules() bool {
	info, err := os.Lstat(filepath.Join(t.Dir, ".gitmodules"))
	return err == nil && info.Mode().IsRegular()
}

func (t Tree) resolveKind(p string, is func(fs.FileMode) bool, otherwise string) (string, error) {
	real, err := t.Resolve(p)
	if err != nil {
		return "", err
	}
	info, err := os.Lstat(real)
	if err != nil {
		return "", explain(p, err)
	}
	if !is(info.Mode()) {
		return "", &PathError{Path: p, Problem: otherwise, Err: fs.ErrInvalid}
	}
	return real, nil
}

func explain(p string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &PathError{Path: p, Problem: "does not exist in the repository at this commit", Err: err}
	}
	return &PathError{Path: p, Problem: "leads out of the repository or cannot be read", Err: err}
}
