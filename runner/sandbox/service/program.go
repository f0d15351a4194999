package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// stepProgram is the name of the step's program, beside this one. It links no gateway and no BuildKit server,
	// so it starts in half the time and needs 20 MB less memory. `make build` and the image have it.
	stepProgram = "slipway-step"
	// lowestProgramFD keeps the descriptor of the program above those that a runner inherits.
	lowestProgramFD = 10
	// versionTimeout bounds the wait for the version of the program.
	versionTimeout = 10 * time.Second
	// unknownVersion is the version of a build without one. Two such builds may differ.
	unknownVersion = "dev"
)

// A program runs `slipway runner`. Its file is open, so an upgrade that replaces the file does not change it.
type program struct {
	path string   // for exec.Command
	file *os.File // nil = this program
}

// close closes the program. No runner may start after that.
func (p program) close() error {
	if p.file == nil {
		return nil
	}
	return p.file.Close()
}

// runnerProgram returns the program for runners, and logs the reason if it is not the step's program, although there
// is one.
func (l commandLine) runnerProgram(ctx context.Context) program {
	own, err := os.Executable()
	if err != nil {
		return program{path: self} // there is no directory to look in
	}
	p, err := findProgram(ctx, own, l.version)
	if err != nil {
		l.log.WithError(err).Info("runners start this program, which takes longer than the step's program")
	}
	return p
}

// findProgram returns the step's program in the directory of the program own, if it has the same version. Otherwise
// it returns this program; err is then the reason, or nil if there is no step's program.
func findProgram(ctx context.Context, own, version string) (program, error) {
	path := filepath.Join(filepath.Dir(own), stepProgram)
	p, err := openProgram(path, own)
	if err == nil {
		err = p.check(ctx, version)
	}
	switch {
	case err == nil:
		return p, nil
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	default:
		err = fmt.Errorf("%s: %w: install it with slipway, from the same release", path, err)
	}
	return program{path: self}, errors.Join(err, p.close())
}

// openProgram opens a program that only those can write who can write this program, own. In a directory such as /tmp,
// other users may have put one there.
func openProgram(path, own string) (p program, err error) {
	owner, err := os.Stat(own)
	if err != nil {
		return p, err
	}
	file, err := os.Open(path)
	if err != nil {
		return p, err
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return p, err
	case !info.Mode().IsRegular() || info.Mode()&0o111 != 0o111:
		return p, fmt.Errorf("its mode is %s, so runners cannot execute it", info.Mode())
	case !hasWritersOf(owner, info):
		return p, errors.New("other users may have written it")
	}
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, lowestProgramFD)
	if err != nil {
		return p, err
	}
	return program{path: fmt.Sprintf("/proc/self/fd/%d", fd), file: os.NewFile(uintptr(fd), path)}, nil
}

// hasWritersOf reports whether nobody can write a file who cannot write the file own. Anybody may write neither.
func hasWritersOf(own, file fs.FileInfo) bool {
	a, b := own.Sys().(*syscall.Stat_t), file.Sys().(*syscall.Stat_t)
	group := file.Mode()&0o020 == 0 || own.Mode()&0o020 != 0 && a.Gid == b.Gid
	return a.Uid == b.Uid && group && file.Mode()&0o002 == 0
}

// check returns an error if the program has another version.
func (p program) check(ctx context.Context, version string) error {
	if version == unknownVersion {
		return errors.New("this program has no version to compare")
	}
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.path, "--version") //nolint:gosec // a program of this program's owner
	cmd.Env = []string{}
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("read its version: %w", err)
	}
	got := strings.TrimPrefix(strings.TrimSpace(string(out)), "slipway version ")
	if got != version {
		return fmt.Errorf("its version is %q, and that of slipway is %q", got, version)
	}
	return nil
}
