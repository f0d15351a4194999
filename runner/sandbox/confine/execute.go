package confine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"slipway/runner/buildhooks"
)

const (
	defaultGrace = 10 * time.Second // the same as in buildhooks.Process
	// killTimeout bounds the time for which the guard waits for killed processes. A process that waits for a
	// disk ends late.
	killTimeout = 10 * time.Second
	// drain bounds the time for which output is read after the end of the guard.
	drain = time.Second
)

var _ buildhooks.Executor = (*Sandbox)(nil)

// Execute runs a program and kills all processes that it leaves. When ctx ends, they receive SIGTERM, and
// SIGKILL after the grace time. Besides the errors of buildhooks.Executor, it returns an error if a process
// is left, or if the hook could not be confined.
func (s *Sandbox) Execute(ctx context.Context, p buildhooks.Program) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.Grace == 0 {
		p.Grace = defaultGrace
	}
	if ctx.Err() != nil {
		return fmt.Errorf("build hook %s: %w", p.Hook, context.Cause(ctx))
	}
	got, err := s.runGuard(ctx, s.order(p), p.Output)
	if err != nil {
		return fmt.Errorf("build hook %s: %w", p.Hook, errors.Join(err, s.killLost()))
	}
	return got.result(ctx, p.Hook)
}

func (s *Sandbox) order(p buildhooks.Program) order {
	return order{
		Level: s.level, IDs: s.ids, Processes: s.o.Processes,
		File: p.File, Dir: p.Dir, Environ: p.Environ, Shared: s.shared, Grace: p.Grace,
	}
}

// killLost kills the hook's processes after the end of their guard, for example because the kernel was
// short of memory. It cannot find the processes of a Landlock domain, which end with the container.
func (s *Sandbox) killLost() error {
	if s.level != LevelUser {
		return errors.New("the guard has ended, so processes of the hook may still run until the container ends")
	}
	onlyKill := order{Level: s.level, IDs: s.ids, Processes: s.o.Processes}
	got, err := s.runGuard(context.Background(), onlyKill, io.Discard)
	return errors.Join(err, got.problem())
}

// runGuard runs a guard to its end and returns its report.
func (s *Sandbox) runGuard(ctx context.Context, o order, output io.Writer) (r report, err error) {
	pipes, err := openPipes()
	if err != nil {
		return report{}, err
	}
	defer pipes.close()
	//nolint:gosec,noctx // our own program; the control pipe ends it
	cmd := exec.Command(s.o.Program[0], s.o.Program[1:]...)
	cmd.Env = []string{} // nil would pass on the step's environment, with its tokens
	cmd.Dir = "/"
	cmd.Stdin = pipes.control.read
	cmd.Stdout, cmd.Stderr = pipes.output.write, pipes.output.write
	cmd.ExtraFiles = []*os.File{pipes.order.read, pipes.report.write}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return report{}, fmt.Errorf("start its guard: %w", err)
	}
	pipes.closeChildEnds()
	go func() {
		_ = json.NewEncoder(pipes.order.write).Encode(o) // a guard without an order reports it
		pipes.order.write.Close()
	}()
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, _ = io.Copy(output, pipes.output.read)
	}()
	stop := stopAtEnd(ctx, cmd.Process, pipes.control.write, o.Grace)
	reportErr := json.NewDecoder(pipes.report.read).Decode(&r)
	err = cmd.Wait()
	stop()
	_ = pipes.output.read.SetReadDeadline(time.Now().Add(drain))
	<-copied
	if reportErr != nil {
		return r, fmt.Errorf("its guard ended early: %w", errors.Join(err, reportErr))
	}
	return r, nil
}

// stopAtEnd asks the guard to stop when ctx ends, and kills it if it does not end in time. The caller
// calls stop after the end of the guard.
func stopAtEnd(ctx context.Context, guard *os.Process, control io.Writer, grace time.Duration) (stop func()) {
	done := make(chan struct{})
	go func() {
		select {
		case <-done:
			return
		case <-ctx.Done():
		}
		_, _ = control.Write([]byte{stopByte}) // an error means that the guard has ended
		select {
		case <-done:
		case <-time.After(grace + killTimeout + drain):
			_ = guard.Kill()
		}
	}()
	return func() { close(done) }
}

// A pipe is a pipe between the step and the guard.
type pipe struct{ read, write *os.File }

// pipes are all pipes of one guard.
type pipes struct {
	control pipe // the guard ends the hook when the step closes it, even by a crash
	order   pipe // the order
	report  pipe // the report
	output  pipe // output of the hook
}

func newPipe() (p pipe, err error) {
	p.read, p.write, err = os.Pipe()
	if err != nil {
		return pipe{}, fmt.Errorf("make a pipe for a build hook: %w", err)
	}
	return p, nil
}

func openPipes() (all pipes, err error) {
	for _, p := range []*pipe{&all.control, &all.order, &all.report, &all.output} {
		if *p, err = newPipe(); err != nil {
			all.close()
			return pipes{}, err
		}
	}
	return all, nil
}

// closeChildEnds closes the ends that the guard has inherited.
func (p pipes) closeChildEnds() {
	for _, f := range []*os.File{p.control.read, p.order.read, p.report.write, p.output.write} {
		f.Close()
	}
}

// close closes all ends. Closing one twice does nothing.
func (p pipes) close() {
	for _, one := range []pipe{p.control, p.order, p.report, p.output} {
		one.read.Close() // a nil *os.File returns an error
		one.write.Close()
	}
}
