package source

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// ReadFile reads a file of at most this many bytes. A path from the workspace stays in it, for a
// link out of it is the repository's doing; an absolute one is what the pipeline's author chose.
// Its error goes on from words like "the file"; fs.ErrNotExist shows through.
func ReadFile(workspace, path string, most int) ([]byte, error) {
	if !filepath.IsAbs(path) {
		top, err := filepath.Abs(workspace)
		if err != nil {
			return nil, fmt.Errorf("has no workspace: %w", err)
		}
		if path, err = (Tree{Dir: top}).File(filepath.Clean(path)); err != nil {
			return nil, fmt.Errorf("%w; give its path from the workspace %s", err, top)
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
