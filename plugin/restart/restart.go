// Package restart replaces the program of a running gateway without closing its listeners. So clients see
// no refused connection: the kernel keeps new ones in the queue of the listener until the new program
// accepts them.
//
//	SIGUSR2 -> Check starts the new program for a moment: does it accept the settings?
//	        -> the gateway ends its work and releases everything but the listeners
//	        -> Exec executes the new program in this process, which keeps its process ID
//
// The new program finds the listeners with Inherit, and also those of a systemd socket unit. If it cannot
// start, Revert executes the previous program again.
package restart

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// The names of listeners, in this package and as FileDescriptorName of a systemd socket unit. The first
// socket of systemd is the public one if none has its name.
const (
	Public  = "public"
	Metrics = "metrics"
)

const (
	// variable is the environment variable with the inherited descriptors, e.g. "public=7,program=8".
	variable = "SLIPWAY_INHERITED"
	// program is the name of the previous program's own file in variable.
	program = "program"
	// self is the own file of this process's program. It works after an upgrade has replaced the file.
	self = "/proc/self/exe"
)

// A State holds what a program gets from the previous one, and passes it on to the next. It is safe for
// concurrent use.
type State struct {
	path    string         // file of the next program
	args    []string       // its arguments
	environ []string       // its environment, without the variables of the hand-over
	signals chan os.Signal // receives SIGUSR2, also before Watch

	mu        sync.Mutex
	inherited map[string]*os.File // by name, until Listen uses them
	kept      map[string]*os.File // descriptors for the next program, by name
	previous  *os.File            // previous program; nil = none
}

// Inherit returns the state of this process, and removes it from the environment. Call it once, before
// anything changes the environment. From now on SIGUSR2 does not end this process. Watch handles it, also if it
// arrives before: another upgrade may follow while this program starts.
func Inherit() (*State, error) {
	s := &State{
		signals: make(chan os.Signal, 1),
		path:    nextProgram(os.Args[0]),
		args:    slices.Clone(os.Args),
		environ: slices.DeleteFunc(os.Environ(), isHandover),
		kept:    map[string]*os.File{},
	}
	signal.Notify(s.signals, syscall.SIGUSR2)
	var err error
	if s.inherited, err = parse(os.Getenv(variable)); err != nil {
		return nil, err
	}
	if err := os.Unsetenv(variable); err != nil {
		return nil, err
	}
	s.previous = s.inherited[program]
	delete(s.inherited, program)
	for i, f := range activation.Files(true) {
		name := f.Name()
		if name != Metrics && (i == 0 || name == Public) {
			name = Public
		}
		if s.inherited[name] != nil {
			return nil, fmt.Errorf("systemd passed two sockets %s: keep one ListenStream", name)
		}
		s.inherited[name] = f
	}
	return s, nil
}

// isHandover reports whether an environment variable belongs to this process alone.
func isHandover(setting string) bool {
	name, _, _ := strings.Cut(setting, "=")
	return name == variable || name == "LISTEN_PID" || name == "LISTEN_FDS" || name == "LISTEN_FDNAMES"
}

// nextProgram returns the absolute path of a program. It does not follow links, because an upgrade may
// change them.
func nextProgram(name string) string {
	path, err := exec.LookPath(name)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return self
	}
	return path
}

// parse returns the files of variable.
func parse(text string) (map[string]*os.File, error) {
	files := map[string]*os.File{}
	if text == "" {
		return files, nil
	}
	for item := range strings.SplitSeq(text, ",") {
		name, number, _ := strings.Cut(item, "=")
		fd, err := strconv.Atoi(number)
		if err != nil || fd < 3 {
			return nil, fmt.Errorf("%s=%q: %s is not an inherited descriptor: unset it", variable, text, item)
		}
		unix.CloseOnExec(fd)
		files[name] = os.NewFile(uintptr(fd), name)
	}
	return files, nil
}

// Listen returns the inherited listener with a name, or else listens on the TCP address. The next program
// will inherit it.
func (s *State) Listen(ctx context.Context, name, address string) (net.Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, err := s.open(ctx, name, address)
	if err != nil {
		return nil, err
	}
	kept, ok := l.(interface{ File() (*os.File, error) })
	if !ok {
		return l, nil
	}
	file, err := kept.File()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("keep listener %s: %w", name, err), l.Close())
	}
	s.kept[name] = file
	return l, nil
}

func (s *State) open(ctx context.Context, name, address string) (net.Listener, error) {
	file := s.inherited[name]
	if file == nil {
		return new(net.ListenConfig).Listen(ctx, "tcp", address)
	}
	delete(s.inherited, name)
	defer file.Close()
	l, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("use the inherited listener %s: %w", name, err)
	}
	return l, nil
}

// Keep passes a file on to the next program, which gets it with Take. The name has no comma and no equals
// sign.
func (s *State) Keep(name string, file *os.File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept[name] = file
}

// Take returns the inherited files whose name begins with a prefix, by the rest of their name. The caller
// closes them.
func (s *State) Take(prefix string) map[string]*os.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	files := map[string]*os.File{}
	for name, file := range s.inherited {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			files[rest] = file
			delete(s.inherited, name)
		}
	}
	return files
}

// Settle releases the previous program and the listeners that no part of this one uses. Call it when this
// program has started.
func (s *State) Settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.inherited {
		_ = f.Close() // nothing was written
	}
	s.inherited = nil
	if s.previous != nil {
		_ = s.previous.Close() // nothing was written
		s.previous = nil
	}
}

// Exec replaces this program by the one that is now at its path. It returns only if that fails.
func (s *State) Exec() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	own, err := os.Open(self)
	if err == nil {
		s.kept[program] = own
	}
	err = s.exec(s.path)
	if s.path != self { // the file was removed
		err = errors.Join(err, s.exec(self))
	}
	return fmt.Errorf("execute %s: %w", s.path, err)
}

// Revert replaces this program by the previous one, which handed over to it. It returns an error if that
// fails, and nil if there is no previous one.
func (s *State) Revert() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.previous == nil {
		return nil
	}
	for name, f := range s.inherited {
		if s.kept[name] == nil {
			s.kept[name] = f
		}
	}
	// The path stays readable, because Linux executes the file before it closes the descriptor.
	err := s.exec(fmt.Sprintf("/proc/self/fd/%d", s.previous.Fd()))
	return fmt.Errorf("execute the previous program: %w", err)
}

// HasPrevious reports whether a previous program handed over to this one, which has not settled yet.
func (s *State) HasPrevious() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.previous != nil
}

// exec executes a program with the kept descriptors.
func (s *State) exec(path string) error {
	var items []string
	for name, f := range s.kept {
		fd := f.Fd()
		if _, err := unix.FcntlInt(fd, unix.F_SETFD, 0); err != nil { // clears FD_CLOEXEC
			return fmt.Errorf("pass on listener %s: %w", name, err)
		}
		items = append(items, fmt.Sprintf("%s=%d", name, fd))
	}
	slices.Sort(items)
	environ := s.environ
	if len(items) > 0 {
		environ = append(slices.Clone(environ), variable+"="+strings.Join(items, ","))
	}
	signal.Ignore(syscall.SIGUSR2) // until the new program handles it; otherwise a second signal would end it
	//nolint:gosec // our own program
	err := syscall.Exec(path, s.args, environ)
	for _, f := range s.kept {
		unix.CloseOnExec(int(f.Fd()))
	}
	return err
}
