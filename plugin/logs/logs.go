// Package logs keeps the logs of attempts: as files that only the gateway's user may read, or
// in the database where several gateways share it. A runner appends at offsets, so that
// repeating a request doubles nothing; secrets are masked before they are written; a log has a
// greatest size.
package logs

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"regexp"
	"strings"
	"sync"

	"slipway/config/secret"
	ab "slipway/plugin/autobuild"
	"slipway/plugin/store"
)

// DefaultMaxSize bounds one log, in bytes.
const DefaultMaxSize = 64 << 20

// maxLine bounds a line of the gateway's own, in bytes.
const maxLine = 4 << 10

// ErrGap means that bytes before the offset are missing; the size returned says where to go on.
var ErrGap = errors.New("the offset is beyond the log's end")

// Options set up Logs.
type Options struct {
	Dir     string       // of the files, made when it is not there
	Store   *store.Store // keeps them in place of Dir when it is set
	MaxSize int64        // of one log in bytes; 0 = DefaultMaxSize
}

// A keeper holds the bytes of logs.
type keeper interface {
	write(ctx context.Context, n name, what func(ab.LogEnd) (ab.LogAddition, error)) error
	read(ctx context.Context, n name, offset int64, max int) ([]byte, error)
	size(ctx context.Context, n name) int64
	prune(ctx context.Context, keep func(buildID string) bool) error
}

// Logs keeps logs. It is safe for concurrent use. Files are for one process alone; in the
// database other gateways may write beside it.
type Logs struct {
	kept    keeper
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
	l := &Logs{kept: files{o.Dir}, maxSize: o.MaxSize, seed: maphash.MakeSeed()}
	if o.Store != nil {
		l.kept = table{o.Store}
	}
	return l
}

func (l *Logs) slot(n name) *slot {
	return &l.slots[maphash.Comparable(l.seed, n)%uint64(len(l.slots))]
}

// buildID is what a build's id must look like to become the name of a directory.
var buildID = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)

func (n name) check() error {
	if !buildID.MatchString(n.build) {
		return fmt.Errorf("log of build %q: %w", n.build, ab.ErrNotFound)
	}
	return nil
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
	err = l.change(ctx, n, func(end ab.LogEnd, r *secret.Redactor) (add ab.LogAddition, err error) {
		add, size, err = appended(end, offset, r.Mask(data), l.maxSize)
		return add, err
	})
	return size, err
}

// Line writes a line of the gateway's own at the end. It does not count in a runner's offsets.
func (l *Logs) Line(ctx context.Context, buildID string, attempt int, line string) error {
	line = strings.Join(strings.FieldsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' }), " ")
	line = line[:min(len(line), maxLine)]
	return l.change(ctx, name{buildID, attempt}, func(end ab.LogEnd, r *secret.Redactor) (ab.LogAddition, error) {
		return ownLine(end.MidLine, string(r.Mask([]byte(line)))), nil
	})
}

// change lets one caller at a time add to a log, and wakes its followers.
func (l *Logs) change(ctx context.Context, n name, what func(ab.LogEnd, *secret.Redactor) (ab.LogAddition, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := n.check(); err != nil {
		return err
	}
	s := l.slot(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	err := l.kept.write(ctx, n, func(end ab.LogEnd) (ab.LogAddition, error) { return what(end, s.redactors[n]) })
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
	n := name{buildID, attempt}
	if err := n.check(); err != nil {
		return nil, err
	}
	data, err := l.kept.read(ctx, n, offset, max)
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	return data, nil
}

// Follow returns a channel that is closed when there is more after an offset, or when the
// log was closed. Wait for ctx beside it, and for a second at most where another gateway may
// write. Being woken for nothing is possible: read, and follow again from there.
func (l *Logs) Follow(ctx context.Context, buildID string, attempt int, offset int64) <-chan struct{} {
	n := name{buildID, attempt}
	s := l.slot(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil || n.check() != nil || l.kept.size(ctx, n) > offset {
		now := make(chan struct{})
		close(now)
		return now
	}
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
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
	if err := l.kept.prune(ctx, keep); err != nil {
		return fmt.Errorf("prune logs: %w", err)
	}
	return nil
}
