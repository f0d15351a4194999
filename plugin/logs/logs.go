// Package logs stores the logs of attempts: in files that only the gateway's user can read, or in
// the database if several gateways share it. A runner appends at offsets, so that a repeated
// request appends nothing twice. Secrets are masked before a write. The size of a log is limited.
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
	"slipway/plugin/autobuild"
)

// DefaultMaxSize is the default limit of one log, in bytes.
const DefaultMaxSize = 64 << 20

// maxLine is the limit of a line of the gateway, in bytes.
const maxLine = 4 << 10

// ErrGap is returned if bytes before the offset are missing. The returned size is the offset from
// which the runner must send again.
var ErrGap = errors.New("the offset is beyond the log's end")

// Options configure Logs.
type Options struct {
	Dir     string // directory of the files, created by the first Append
	Store   Store  // stores the logs instead of Dir; may be nil
	MaxSize int64  // limit of one log in bytes; 0 means DefaultMaxSize
}

// A backend stores the bytes of logs. Callers serialize the writes to one log. The other methods
// are safe for concurrent use. Errors are those of the file system or the database.
type backend interface {
	write(ctx context.Context, n name, next func(autobuild.LogEnd) (autobuild.LogAddition, error)) error
	read(ctx context.Context, n name, offset int64, max int) ([]byte, error)
	size(ctx context.Context, n name) int64
	prune(ctx context.Context, keep func(buildID string) bool) error
}

// Logs stores logs. It is safe for concurrent use. A directory of files belongs to one process;
// several gateways can write logs in one database.
type Logs struct {
	backend backend
	maxSize int64
	seed    maphash.Seed
	slots   [64]slot // each log uses the slot of its name's hash
}

// A slot serializes the writes of its logs and wakes their followers. The number of slots is
// fixed, so that following a log leaks no memory.
type slot struct {
	mu        sync.Mutex
	changed   chan struct{} // closed at the next write; nil without followers
	redactors map[name]*secret.Redactor
}

// A name identifies the log of one attempt.
type name struct {
	build   string
	attempt int
}

// New returns Logs. It writes nothing before the first Append.
func New(o Options) *Logs {
	if o.MaxSize <= 0 {
		o.MaxSize = DefaultMaxSize
	}
	l := &Logs{backend: files{o.Dir}, maxSize: o.MaxSize, seed: maphash.MakeSeed()}
	if o.Store != nil {
		l.backend = table{o.Store}
	}
	return l
}

// slot returns the slot of a log.
func (l *Logs) slot(n name) *slot {
	return &l.slots[maphash.Comparable(l.seed, n)%uint64(len(l.slots))]
}

// buildID matches the ids of builds that are safe as the name of a directory.
var buildID = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)

// check returns autobuild.ErrNotFound if the build's id is not safe in a path.
func (n name) check() error {
	if !buildID.MatchString(n.build) {
		return fmt.Errorf("log of build %q: %w", n.build, autobuild.ErrNotFound)
	}
	return nil
}

// SetSecrets sets the secrets that Append and Line mask in a log from now on. It replaces earlier
// secrets of the log. They are lost at a restart. That is acceptable, because a runner masks its
// output first and this masking is the second line of defense.
func (l *Logs) SetSecrets(buildID string, attempt int, secrets []secret.Secret) {
	n := name{buildID, attempt}
	s := l.slot(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.redactors == nil {
		s.redactors = map[name]*secret.Redactor{}
	}
	s.redactors[n] = secret.NewRedactor(secrets...)
}

// Append writes a runner's data at an offset, which counts the runner's bytes only. It skips
// bytes that are stored already. It returns the number of the runner's bytes after the call, and
// ErrGap for an offset beyond that number. After the size limit is reached, it counts bytes and
// drops them.
func (l *Logs) Append(
	ctx context.Context, buildID string, attempt int, offset int64, data []byte,
) (size int64, err error) {
	n := name{buildID, attempt}
	if offset < 0 {
		return 0, fmt.Errorf("log of build %s attempt %d at %d: %w", buildID, attempt, offset, ErrGap)
	}
	err = l.change(ctx, n, func(end autobuild.LogEnd, r *secret.Redactor) (add autobuild.LogAddition, err error) {
		add, size, err = nextAddition(end, offset, r.Mask(data), l.maxSize)
		return add, err
	})
	return size, err
}

// Line appends a line of the gateway. The line does not count in a runner's offsets.
func (l *Logs) Line(ctx context.Context, buildID string, attempt int, line string) error {
	line = strings.Join(strings.FieldsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' }), " ")
	line = line[:min(len(line), maxLine)]
	next := func(end autobuild.LogEnd, r *secret.Redactor) (autobuild.LogAddition, error) {
		return gatewayLine(end.MidLine, string(r.Mask([]byte(line)))), nil
	}
	return l.change(ctx, name{buildID, attempt}, next)
}

// change serializes the additions to a log, and wakes its followers.
func (l *Logs) change(
	ctx context.Context, n name, next func(autobuild.LogEnd, *secret.Redactor) (autobuild.LogAddition, error),
) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := n.check(); err != nil {
		return err
	}
	s := l.slot(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	masked := func(end autobuild.LogEnd) (autobuild.LogAddition, error) { return next(end, s.redactors[n]) }
	err := l.backend.write(ctx, n, masked)
	s.wake()
	if err != nil {
		return fmt.Errorf("log of build %s attempt %d: %w", n.build, n.attempt, err)
	}
	return nil
}

// wake notifies the followers. The caller holds s.mu.
func (s *slot) wake() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// Read returns up to max bytes from an offset. It returns no bytes at the end of the log, or if
// the log does not exist.
func (l *Logs) Read(ctx context.Context, buildID string, attempt int, offset int64, max int) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	n := name{buildID, attempt}
	if err := n.check(); err != nil {
		return nil, err
	}
	data, err := l.backend.read(ctx, n, offset, max)
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	return data, nil
}

// Follow returns a channel that is closed when the log has bytes after an offset, or when it is
// closed. Also wait for ctx, and at most one second if another gateway can write. The channel can
// be closed without new bytes: read, and follow again from there.
func (l *Logs) Follow(ctx context.Context, buildID string, attempt int, offset int64) <-chan struct{} {
	n := name{buildID, attempt}
	s := l.slot(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil || n.check() != nil || l.backend.size(ctx, n) > offset {
		now := make(chan struct{})
		close(now)
		return now
	}
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

// Close ends the log of an attempt. It wakes the followers and drops the secrets.
func (l *Logs) Close(buildID string, attempt int) {
	n := name{buildID, attempt}
	s := l.slot(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.redactors, n)
	s.wake()
}

// Prune removes the logs of all builds for which keep returns false.
func (l *Logs) Prune(ctx context.Context, keep func(buildID string) bool) error {
	if err := l.backend.prune(ctx, keep); err != nil {
		return fmt.Errorf("prune logs: %w", err)
	}
	return nil
}
