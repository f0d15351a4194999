package guest

import (
	"encoding/binary"
	"fmt"
	"syscall"
)

// A Status is the end of a command. The zero value is success.
type Status struct {
	Code   int            // exit code, 0-255; -1 = killed by a signal
	Signal syscall.Signal // 0 = the command exited
}

// String returns the end in words, for example "exit code 1" or "killed (signal 9: killed)".
func (s Status) String() string {
	if s.Signal != 0 {
		return fmt.Sprintf("killed (signal %d: %s)", int(s.Signal), s.Signal)
	}
	return fmt.Sprintf("exit code %d", s.Code)
}

// A StartError reports that a command could not be started. It wraps the error of the kernel, for example
// ENOENT for a file or an interpreter that does not exist.
type StartError struct {
	Program string // Command.Args[0]
	Err     syscall.Errno
}

// Error implements the interface error.
func (e *StartError) Error() string { return fmt.Sprintf("start %s: %v", e.Program, e.Err) }

// Unwrap returns the error of the kernel.
func (e *StartError) Unwrap() error { return e.Err }

// An endKind is the first byte of a frame "end".
type endKind byte

const (
	endExited     endKind = 'x'
	endSignaled   endKind = 's'
	endNotStarted endKind = 'n'
)

// maxErrno is the kernel's MAX_ERRNO.
// https://github.com/torvalds/linux/blob/master/include/linux/err.h
const maxErrno = 4095

// An end is the content of a frame "end".
type end struct {
	kind  endKind
	value int
}

func (e end) encode() []byte {
	//nolint:gosec // G115: exit codes, signals and errnos are small
	return binary.BigEndian.AppendUint32([]byte{byte(e.kind)}, uint32(e.value))
}

// decodeEnd decodes and checks the content of a frame "end".
func decodeEnd(content []byte) (end, error) {
	if len(content) != endSize {
		return end{}, fmt.Errorf("status has %d bytes, not %d", len(content), endSize)
	}
	value := binary.BigEndian.Uint32(content[1:])
	e := end{kind: endKind(content[0]), value: int(value & 0xffff)}
	valid := false
	switch e.kind {
	case endExited:
		valid = value <= 255
	case endSignaled:
		valid = value > 0 && value <= 64
	case endNotStarted:
		valid = value > 0 && value <= maxErrno
	}
	if !valid {
		return end{}, fmt.Errorf("status %q with value %d is not valid", byte(e.kind), value)
	}
	return e, nil
}

// result returns the status of a command, or a *StartError.
func (e end) result(program string) (Status, error) {
	switch e.kind {
	case endSignaled:
		return Status{Code: -1, Signal: syscall.Signal(e.value)}, nil
	case endNotStarted:
		return Status{Code: -1}, &StartError{Program: program, Err: syscall.Errno(e.value)}
	default:
		return Status{Code: e.value}, nil
	}
}
