package report

import (
	"fmt"
	"io"
	"os"
	"sync"
)

// maxSpool bounds a log on the runner's disk, in bytes.
const maxSpool = 256 << 20

// A spool keeps the log in a file until the gateway has it. So the runner's memory does not grow while
// the gateway is unreachable.
type spool struct {
	file *os.File
	max  int64
	wake chan struct{} // holds a token if something was written

	mu   sync.Mutex
	size int64
	full bool
}

func newSpool(dir string) (*spool, error) {
	file, err := os.CreateTemp(dir, "log-")
	if err != nil {
		return nil, fmt.Errorf("make the log's spool: %w", err)
	}
	_ = os.Remove(file.Name()) // the open file stays usable, and nothing is left after a crash
	return &spool{file: file, max: maxSpool, wake: make(chan struct{}, 1)}, nil
}

// Write appends to the log. At the maximum size it writes a last line about it and drops the rest.
func (s *spool) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full {
		return len(p), nil
	}
	text := p
	if s.size+int64(len(p)) > s.max {
		s.full = true
		text = fmt.Appendf(
			nil,
			"\nThis log has reached its maximum size, %d bytes. The rest is not stored.\n",
			s.max,
		)
	}
	n, err := s.file.WriteAt(text, s.size)
	s.size += int64(n)
	select {
	case s.wake <- struct{}{}:
	default:
	}
	if err != nil {
		return 0, fmt.Errorf("write to the log's spool: %w", err)
	}
	return len(p), nil
}

// chunk reads up to max bytes from offset. It returns no bytes if offset is the end.
func (s *spool) chunk(offset int64, max int) ([]byte, error) {
	b := make([]byte, min(int64(max), s.length()-offset))
	if len(b) == 0 {
		return nil, nil
	}
	if _, err := s.file.ReadAt(b, offset); err != nil && err != io.EOF {
		return nil, fmt.Errorf("read the log's spool: %w", err)
	}
	return b, nil
}

func (s *spool) length() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

func (s *spool) Close() error { return s.file.Close() }
