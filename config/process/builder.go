package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// ReadyMessage is the log message of `slipway builder` when it accepts connections.
	ReadyMessage = "builder is ready"
	// ExitStateLocked is the exit code of `slipway builder` if another process uses its state
	// directory. It is EX_TEMPFAIL of sysexits.h: a later start may succeed.
	ExitStateLocked = 75

	// readyTimeout bounds the start of a builder. A large cache takes seconds to open.
	readyTimeout = 30 * time.Second
)

// ErrStateLocked reports that another process uses the state directory of a builder.
var ErrStateLocked = errors.New("the builder's state is in use by another process")

// A Builder is a process of `slipway builder`. It is safe for concurrent use.
type Builder struct {
	*Process
	ready chan struct{} // closed when the builder accepts connections

	mu      sync.Mutex
	last    string // last line of output
	warning string // last line of output above level info
}

// StartBuilder starts a command that runs `slipway builder`. onLine is called with each line of its
// output; calls do not overlap.
func StartBuilder(cmd *exec.Cmd, onLine func(line string)) (*Builder, error) {
	return StartBuilderIn(cmd, nil, onLine)
}

// StartBuilderIn is like StartBuilder, for a builder in another network: setup is Options.Setup of the
// process.
func StartBuilderIn(cmd *exec.Cmd, setup func() error, onLine func(line string)) (*Builder, error) {
	b := &Builder{ready: make(chan struct{})}
	var announce sync.Once
	var err error
	b.Process, err = Start(cmd, Options{Setup: setup, Line: func(line string) {
		b.keep(line)
		onLine(line)
		if strings.Contains(line, ReadyMessage) {
			announce.Do(func() { close(b.ready) })
		}
	}})
	if err != nil {
		return nil, err
	}
	return b, nil
}

// IsWarning reports whether a line of a builder's output has a level above info. The level comes before
// the message, which may contain any text.
func IsWarning(line string) bool {
	head, _, _ := strings.Cut(line, " msg=")
	return !strings.Contains(head, "level=info")
}

func (b *Builder) keep(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = line
	if IsWarning(line) {
		b.warning = line
	}
}

// WaitReady waits until the builder accepts connections. It returns an error if the builder ends or is
// not ready after 30 s, and the cause if ctx ends. The error is ErrStateLocked if another process uses
// the builder's state.
func (b *Builder) WaitReady(ctx context.Context) error {
	timeout := fmt.Errorf("not ready after %s: %w", readyTimeout, context.DeadlineExceeded)
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, timeout)
	defer cancel()
	select {
	case <-b.ready:
		return nil
	case <-b.Ended():
		return b.exitError()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// exitError returns the error of an ended builder, with the last warning of its output.
func (b *Builder) exitError() error {
	err := b.Wait()
	if err == nil {
		return errors.New("it stopped at once")
	}
	b.mu.Lock()
	reason := textOf(cmp.Or(b.warning, b.last))
	b.mu.Unlock()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == ExitStateLocked {
		return fmt.Errorf("%w: %s", ErrStateLocked, reason)
	}
	return fmt.Errorf("%w: %s", err, reason)
}

// textOf returns the message and the error of a log line in logrus's text format. It returns another line, for
// example of a panic, as it is.
func textOf(line string) string {
	fields := fieldsOf(line)
	message, hasMessage := fields["msg"]
	_, hasLevel := fields["level"]
	switch {
	case !hasLevel || !hasMessage:
		return line
	case fields["error"] != "":
		return message + ": " + fields["error"]
	}
	return message
}

// fieldsOf returns the fields of a log line, for example {"level": "error", "msg": "no space"}.
func fieldsOf(line string) map[string]string {
	fields := map[string]string{}
	for {
		name, rest, found := strings.Cut(line, "=")
		if !found {
			return fields
		}
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			fields[name], line, _ = strings.Cut(rest, " ")
			continue
		}
		value, _ := strconv.Unquote(quoted) // a quoted prefix is valid
		fields[name], line = value, strings.TrimPrefix(rest[len(quoted):], " ")
	}
}
