package sandbox

import (
	"errors"
	"io"
	"os"
	"os/exec"
)

const (
	// mountsDone is the status that init reports after it has made its mounts. Any other status is
	// an error text.
	mountsDone = "done"
	// maxStatus is the longest status that launch reads from init, in bytes.
	maxStatus = 4 << 10
)

// controlPipe holds the two pipes between launch and init.
type controlPipe struct {
	control, status           *os.File // launch's ends
	childControl, childStatus *os.File // init's ends
}

// newControlPipe creates the pipes and passes init's ends to the command, as controlFD and statusFD. The
// command's other extra files follow.
func newControlPipe(cmd *exec.Cmd) (p controlPipe, err error) {
	if p.childControl, p.control, err = os.Pipe(); err != nil {
		return p, err
	}
	if p.status, p.childStatus, err = os.Pipe(); err != nil {
		return p, errors.Join(err, p.childControl.Close(), p.control.Close())
	}
	cmd.ExtraFiles = append([]*os.File{p.childControl, p.childStatus}, cmd.ExtraFiles...)
	return p, nil
}

// closeChildEnds closes init's ends in this process. Call it after init has started.
func (p controlPipe) closeChildEnds() { _, _ = p.childControl.Close(), p.childStatus.Close() }

// close closes launch's ends, which ends a running init.
func (p controlPipe) close() { _, _ = p.control.Close(), p.status.Close() }

// readStatus waits for the status of init. The status is "" if init ended without one.
func (p controlPipe) readStatus() (string, error) {
	status, err := io.ReadAll(io.LimitReader(p.status, maxStatus))
	return string(status), err
}

// reportStatus reports the result of the mounts from init to launch.
func reportStatus(err error) {
	pipe := os.NewFile(statusFD, "status")
	text := mountsDone
	if err != nil {
		text = err.Error()
	}
	_, _ = io.WriteString(pipe, text) // fails only if launch has ended, and then this process ends soon
	_ = pipe.Close()
}
