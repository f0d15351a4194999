package source

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// ReadFile reads a file of at most most bytes. A relative path starts at the workspace and must not lead
// out of it, because the repository may contain such a link. An absolute path is used as it is: the
// pipeline's author chose it. The error is a predicate after "the file", and wraps fs.ErrNotExist.
func ReadFile(workspace, path string, most int) ([]byte, error) {
	if !filepath.IsAbs(path) {
		top, err := filepath.Abs(workspace)
		if err != nil {
			return nil, fmt.Errorf("has no workspace: %w", err)
		}
		if path, err = (Tree{Dir: top}).File(filepath.Clean(path)); err != nil {
			return nil, fmt.Errorf("%w; set its path relative to the workspace %s", err, top)
		}
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, int64(most)+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot be read: %w", err)
	case len(text) > most:
		return nil, fmt.Errorf("%s is larger than %d KiB", path, most>>10)
	}
	return text, nil
}
