// Package failpoint crashes a process under test before or after an operation that a test
// names: a commit of a gateway, or a step of a runner.
package failpoint

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"slipway/plugin/store/storetest"
)

// A Mode is the effect of a failpoint.
type Mode string

// The modes of a failpoint.
const (
	Before    Mode = "before"     // the process dies before the operation
	After     Mode = "after"      // the process dies after the operation
	LoseReply Mode = "lose-reply" // the commit succeeds, but its reply is lost. The process lives on.
)

// A Point names at most one operation, in a file that the test and the process share. Each
// operation of the process checks the file, so that a test can enable it at any time.
type Point struct{ file string }

// variable is the environment variable with a gateway's failpoint file.
const variable = "SLIPWAY_TEST_FAILPOINT"

// New returns a disabled failpoint for a gateway that is started with its Environment. dir must be an
// empty directory.
func New(dir string) Point { return Point{filepath.Join(dir, "failpoint")} }

// NewForRunners returns a disabled failpoint for the embedded runners of first attempts. dir is
// the directory of their localenv.Env.
func NewForRunners(dir string) (Point, error) {
	p := ofRunners(dir)
	if err := os.Mkdir(filepath.Dir(p.file), 0o700); err != nil {
		return Point{}, err
	}
	// Each runner has a user of its own, and removes the file.
	return p, os.Chmod(filepath.Dir(p.file), 0o777) //nolint:gosec // a directory of one test
}

func ofRunners(dir string) Point { return Point{filepath.Join(dir, "runners", "failpoint")} }

// OfGateway returns the failpoint of this process if it is a gateway that was started with one.
func OfGateway() (p Point, ok bool) {
	p.file = os.Getenv(variable)
	return p, p.file != ""
}

// OfRunner returns the failpoint of this process if it is an embedded runner of a first attempt.
// The engine sets a runner's environment, so the path of its working directory leads to the file:
// DIR/gateway/builder/…/BUILD-ATTEMPT.
func OfRunner() (p Point, ok bool) {
	work := os.Getenv("SLIPWAY_WORKDIR")
	dir, _, _ := strings.Cut(work, "/gateway/builder/")
	p = ofRunners(dir)
	info, err := os.Stat(filepath.Dir(p.file))
	isDir := err == nil && info.IsDir()
	return p, isDir && strings.HasSuffix(work, "-1")
}

// Environment returns the failpoint as NAME=value, for the environment of a gateway.
func (p Point) Environment() string { return variable + "=" + p.file }

// Enable triggers the failpoint once, at the next operation that starts with these words, e.g.
// "plan delivery".
func (p Point) Enable(mode Mode, operation string) error {
	text := []byte(string(mode) + " " + operation)
	err := os.WriteFile(p.file+".new", text, 0o644) //nolint:gosec // a runner is another user
	if err != nil {
		return err
	}
	return os.Rename(p.file+".new", p.file)
}

// Triggered reports whether the enabled failpoint has had its effect.
func (p Point) Triggered() (bool, error) {
	for _, file := range []string{p.file, p.replyFile()} {
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return true, nil
}

// Eval triggers the failpoint if it names the operation. A process under test calls it before
// each operation, and after it with done = true.
func (p Point) Eval(operation string, done bool) {
	text, err := os.ReadFile(p.file)
	if err != nil {
		return // disabled
	}
	mode, name, _ := strings.Cut(string(text), " ")
	if !strings.HasPrefix(operation+" ", name+" ") {
		return
	}
	switch Mode(mode) {
	case LoseReply:
		if !done {
			_ = os.Rename(p.file, p.replyFile()) // it fails if another process was first
		}
	case Before:
		p.crash(!done)
	case After:
		p.crash(done)
	}
}

// crash kills this process if now is true: nothing is deferred, nothing is flushed.
func (p Point) crash(now bool) {
	if !now || os.Remove(p.file) != nil {
		return // another process was first
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	// An embedded runner is the first process of a PID namespace: it cannot kill itself.
	syscall.Exit(1)
}

// replyFile is the file whose presence means: lose the reply of the next commit.
func (p Point) replyFile() string { return p.file + ".reply" }

// LoseReply is the function for storetest.Losing. The gateway holds the write lock when it comes
// to such a commit, so that no other commit comes first.
func (p Point) LoseReply(implied bool) storetest.Loss {
	if implied || os.Remove(p.replyFile()) != nil {
		return storetest.None
	}
	return storetest.Unanswered
}
