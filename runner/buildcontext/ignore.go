package buildcontext

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	continuity "github.com/containerd/continuity/fs"
	"github.com/moby/patternmatcher/ignorefile"
)

// ignoreName is the name of the file with patterns of files that do not belong to the context.
const ignoreName = ".dockerignore"

// An ignoreFile is a file of patterns.
type ignoreFile struct{ dir, name string }

// ignoreFiles returns the files of patterns in the order of their precedence.
// https://docs.docker.com/build/concepts/context/#filename-and-location
func (d *Dir) ignoreFiles(dockerfile string) []ignoreFile {
	return []ignoreFile{
		{filepath.Dir(dockerfile), filepath.Base(dockerfile) + ignoreName},
		{d.path, ignoreName},
	}
}

// Excluded returns the patterns of files that do not belong to the context. dockerfile is the path of the
// Dockerfile. It returns nil if there are none, or if they cannot be read: then the build itself fails.
func (d *Dir) Excluded(dockerfile string) []string {
	for _, file := range d.ignoreFiles(dockerfile) {
		text, err := file.read()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		patterns, parseErr := ignorefile.ReadAll(bytes.NewReader(text))
		if err != nil || parseErr != nil {
			return nil
		}
		return patterns
	}
	return nil
}

// UnusedIgnoreFile returns the name of a file of patterns that has no effect, because it is a link out of its
// directory or to no file; "" = there is none. BuildKit treats it as absent.
func (d *Dir) UnusedIgnoreFile(dockerfile string) string {
	for _, file := range d.ignoreFiles(dockerfile) {
		info, err := os.Lstat(filepath.Join(file.dir, file.name))
		if err != nil || info.Mode()&fs.ModeSymlink == 0 {
			continue
		}
		if _, err := file.read(); errors.Is(err, fs.ErrNotExist) {
			return file.name
		}
	}
	return ""
}

// read follows symbolic links as BuildKit does: within the directory.
func (f ignoreFile) read() ([]byte, error) {
	path, err := continuity.RootPath(f.dir, f.name)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}
