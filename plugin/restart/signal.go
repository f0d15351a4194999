package restart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config/text"
)

// ErrRequested is the cause of the context that Watch returns if the new program is to be executed.
var ErrRequested = errors.New("a restart was requested")

const (
	// checkTimeout bounds the check of the new program.
	checkTimeout = time.Minute
	// outputDelay is how long a child of the new program may keep the output open after the program has ended.
	outputDelay = time.Second
)

// Watch waits for SIGUSR2 until ctx ends, and then checks the new program. Call it once. The returned context ends with
// ErrRequested if the check succeeds. Otherwise Watch logs the error, and waits for the next signal. stop
// releases its resources.
func (s *State) Watch(ctx context.Context, log logrus.FieldLogger) (work context.Context, stop func()) {
	work, cancel := context.WithCancelCause(ctx)
	go func() {
		for {
			select {
			case <-work.Done():
				return
			case <-s.signals:
			}
			log.WithField("program", s.path).Info("restart: checking the new program")
			err := s.check(work)
			if err == nil {
				cancel(ErrRequested)
				return
			}
			if work.Err() == nil {
				log.WithError(err).Error("restart refused: this program continues")
			}
		}
	}()
	return work, func() { cancel(nil) }
}

// check runs the new program with the argument --check. It returns the end of its output as error.
func (s *State) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	//nolint:gosec // our own program, with our own arguments
	cmd := exec.CommandContext(ctx, s.path, append(s.args[1:len(s.args):len(s.args)], "--check")...)
	cmd.Env = s.environ
	output := &text.LastLines{Limit: maxOutput} // the program may print without end until the timeout
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = outputDelay
	err := cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("no result within %s", checkTimeout)
	}
	if err != nil {
		return fmt.Errorf("check %s: %w: %s", s.path, err, bytes.TrimSpace(output.Bytes()))
	}
	return nil
}

// maxOutput is the length of the output in an error, in bytes.
const maxOutput = 2000
