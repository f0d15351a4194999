// Package logs keeps the logs of attempts as files, <dir>/<build>/<attempt>.log, that only
// the gateway's user may read. A runner appends at offsets, so that repeating a request
// doubles nothing; secrets are masked before they reach the disk; a log has a greatest size.
package logs

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"slipway/config/secret"
	ab "slipway/plugin/autobuild"
)

// DefaultMaxSize bounds one log, in bytes.
const DefaultMaxSize = 64 << 20

// maxLine bounds a line of the gateway's own, in bytes.
const maxLine = 4 << 10

// ErrGap means that bytes before the offset are missing; the size returned says where to go on.
var ErrGap = errors.New("the offset is beyond the log's end")

// Options set up Logs.
type Options struct {
	Dir     string // made when it is not there
	MaxSize int64  // of one log in bytes; 0 = DefaultMaxSize
}

// Logs keeps logs. It is safe for concurrent use within one process, which must be the
// only one that writes to the directory.
type Logs struct {
	dir     string
	maxSize int64
	seed    maphash.Seed
	slots   [64]slot // a log has one by its name
}

// A slot orders the writes of some logs and wakes those who follow them. The number of
// slots is fixed, so that following a log leaves nothing behind.
type slot struct {
	mu        sync.Mutex
	changed   chan struct{} // closed at the next write; nil while nobody waits
	redactors map[name]*secret.Redactor
}

// A name is one log.
type name struct {
	build   string
	attempt int
}

// New makes Logs; nothing is written before the first Append.
func New(o Options) *Logs {
	if o.MaxSize <= 0 {
		o.MaxSize = DefaultMaxSize
	}
	return &Logs{dir: o.Dir, maxSize: o.MaxSize, seed: maphash.MakeSeed()}
}

func (l *Logs) slot(n name) *slot {
	return &l.slots[maphash.Comparable(l.seed, n)%uint64(len(l.slots))]
}

// buildID is what a build's id must look like to become the name of a directory.
var buildID = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)

func (l *Logs) path(n name) (string, error) {
	if !buildID.MatchString(n.build) {
		return "", fmt.Errorf("log of build %q: %w", n.build, ab.ErrNotFound)
	}
	return filepath.Join(l.dir, n.build, strconv.Itoa(n.attempt)+".log"), nil
}

// Conceal sets what Append and Line mask in a log from now on, in place of what they did
// before. It is not kept over a restart: a runner masks what it sends, this is the second line.
func (l *Logs) Conceal(buildID string, attempt int, secrets []secret.Secret) {
	n := name{buildID, attempt}
	s := l.slot(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.redactors == nil {
		s.redactors = map[name]*secret.Redactor{}
	}
	s.redactors[n] = secret.NewRedactor(secrets...)
}

// Append writes a runner's data at its offset, counted in bytes of the runner's. What is
// there already is skipped. It returns how many bytes of the runner's there are now; an
// offset beyond that is ErrGap. Past the greatest size bytes are counted and dropped.
func (l *Logs) Append(ctx context.Context, buildID string, attempt int, offset int64, data []byte) (size int64, err error) {
	n := name{buildID, attempt}
	if offset < 0 {
		return 0, fmt.Errorf("log of build %s attempt %d at %d: %w", buildID, attempt, offset, ErrGap)
	}
	err = l.change(ctx, n, func(f *file, r *secret.Redactor) error {
		size, err = f.append(offset, r.Mask(data), l.maxSize)
		return err
	})
	return size, err
}

// Line writes a line of the gateway's own at the end. It does not count in a runner's offsets.
func (l *Logs) Line(ctx context.Context, buildID string, attempt int, line string) error {
	line = strings.Join(strings.FieldsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' }), " ")
	line = line[:min(len(line), maxLine)]
	return l.change(ctx, name{buildID, attempt}, func(f *file, r *secret.Redactor) error {
		return f.line(r.Mask([]byte(line + "\n")))
	})
}

// change opens a log, lets one caller write to it, and wakes its followers.
func (l *Logs) change(ctx context.Context, n name, write func(*file, *secret.Redactor) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	path, err := l.path(n)
	if err != nil {
		return err
	}
	s := l.slot(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := openFile(path)
	if err == nil {
		err = errors.Join(write(f, s.redactors[n]), f.Close())
	}
	s.wake()
	if err != nil {
		return fmt.Errorf("log of build %s attempt %d: %w", n.build, n.attempt, err)
	}
	return nil
}

func (s *slot) wake() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// Read returns up to max bytes from an offset on; none at the end of what there is, or when
// nothing was written yet.
func (l *Logs) Read(ctx context.Context, buildID string, attempt int, offset int64, max int) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	path, err := l.path(name{buildID, attempt})
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	defer func() { _ = f.Close() }()
	data := make([]byte, max)
	n, err := f.ReadAt(data, offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read log: %w", err)
	}
	return data[:n], nil
}

// Follow returns a channel that is closed when there is more after an offset, or when the
// log was closed. Wait for ctx beside it. Being woken for nothing is possible: read, and
// follow again from there.
func (l *Logs) Follow(ctx context.Context, buildID string, attempt int, offset int64) <-chan struct{} {
	n := name{buildID, attempt}
	s := l.slot(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	if path, err := l.path(n); ctx.Err() != nil || err != nil || sizeOf(path) > offset {
		now := make(chan struct{})
		close(now)
		return now
	}
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// Close says that an attempt is over: its followers are woken and its secrets forgotten.
func (l *Logs) Close(buildID string, attempt int) {
	n := name{buildID, attempt}
	s := l.slot(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.redactors, n)
	s.wake()
}

// Prune removes the logs of all builds that are not to be kept.
func (l *Logs) Prune(ctx context.Context, keep func(buildID string) bool) error {
	entries, err := os.ReadDir(l.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("prune logs: %w", err)
	}
	for _, e := range entries {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !e.IsDir() || keep(e.Name()) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(l.dir, e.Name())); err != nil {
			return fmt.Errorf("prune logs: %w", err)
		}
	}
	return nil
}
