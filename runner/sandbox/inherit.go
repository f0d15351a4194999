package sandbox

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// The descriptors of inherited files. They are the same in every stage, because init uses the lower ones
// for its pipes.
const (
	listenerFD = 5
	linkFD     = 6
)

// inheritedVar is the environment variable that is set if a stage has inherited files.
const inheritedVar = "SLIPWAY_BUILDER_INHERITED"

// An Inheritance holds the open files that a supervisor gives to a builder. The zero value has none.
type Inheritance struct {
	// Listener is a listening socket. The builder serves on it in place of its own address. While no
	// builder runs, connections wait in the socket, because the supervisor keeps it open.
	Listener *os.File
	// Link is the connection to the supervisor (package link).
	Link *os.File
}

// Pass makes a command that runs `slipway builder` inherit the files, if there are any. The command
// must have no other extra files.
func (i Inheritance) Pass(cmd *exec.Cmd) {
	if i.Listener == nil {
		return
	}
	cmd.ExtraFiles = append([]*os.File{nil, nil}, i.files()...) // the files begin at descriptor 3; nil = closed
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, inheritedVar+"=1")
}

// inherit returns the inherited files of this process, and keeps other programs from inheriting them.
func (s stage) inherit() (Inheritance, error) {
	if !s.inherited {
		return Inheritance{}, nil
	}
	for _, fd := range []int{listenerFD, linkFD} {
		var stat syscall.Stat_t
		if err := syscall.Fstat(fd, &stat); err != nil {
			return Inheritance{}, fmt.Errorf("%s is set, but descriptor %d is not open: %w", inheritedVar, fd, err)
		}
		if stat.Mode&syscall.S_IFMT != syscall.S_IFSOCK {
			return Inheritance{}, fmt.Errorf("%s is set, but descriptor %d is not a socket", inheritedVar, fd)
		}
		syscall.CloseOnExec(fd)
	}
	return Inheritance{
		Listener: os.NewFile(listenerFD, "listener"),
		Link:     os.NewFile(linkFD, "link"),
	}, nil
}

// files returns the files in the order of their descriptors, for exec.Cmd.ExtraFiles.
func (i Inheritance) files() []*os.File {
	if i.Listener == nil {
		return nil
	}
	return []*os.File{i.Listener, i.Link}
}
