package logs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A file is one log, open for writing. Beside it stands, when the gateway wrote lines of its
// own, how many bytes those are, so that a runner's offsets go on counting its own bytes only.
type file struct {
	*os.File
	path string
	size int64 // of the file
	own  int64 // bytes of it that are the gateway's
}

func openFile(path string) (*file, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	own, err := readOwn(path)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &file{File: f, path: path, size: info.Size(), own: own}, nil
}

func readOwn(path string) (int64, error) {
	text, err := os.ReadFile(path + ".own")
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

// append writes data that stands at an offset of the runner's count, and returns the
// runner's new count.
func (f *file) append(offset int64, data []byte, maxSize int64) (int64, error) {
	end := offset + int64(len(data))
	have := f.size - f.own
	if f.size >= maxSize {
		return max(have, end), nil // full: counted, not kept
	}
	if offset > have {
		return have, ErrGap
	}
	if end <= have {
		return have, nil
	}
	data = data[have-offset:]
	room := maxSize - f.size
	if int64(len(data)) < room {
		return end, f.write(data)
	}
	if err := f.write(data[:room]); err != nil {
		return have, err
	}
	notice := fmt.Sprintf("This log has reached its greatest size, %d bytes; what follows is not kept.\n", maxSize)
	return end, f.line([]byte(notice))
}

// line appends a line of the gateway's own. Its bytes are counted before they are written:
// a crash in between makes a runner send some bytes again, where the other order would lose them.
func (f *file) line(text []byte) error {
	last := make([]byte, 1)
	if f.size > 0 {
		if _, err := f.ReadAt(last, f.size-1); err != nil {
			return err
		}
		if last[0] != '\n' {
			text = append([]byte("\n"), text...)
		}
	}
	own := strconv.FormatInt(f.own+int64(len(text)), 10)
	if err := replace(f.path+".own", own); err != nil {
		return err
	}
	return f.write(text)
}

func (f *file) write(data []byte) error {
	n, err := f.WriteAt(data, f.size)
	f.size += int64(n)
	return err
}

// replace writes a small file whole or not at all.
func replace(path, text string) error {
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
