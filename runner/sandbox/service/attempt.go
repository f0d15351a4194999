package service

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config/buildservice"
	"slipway/config/netpolicy"
	"slipway/config/process"
	"slipway/config/safe"
	"slipway/config/size"
	"slipway/config/text"
	"slipway/runner/sandbox/disk"
)

// maxOutput bounds the reported output of a runner, in bytes. The build log does not count: it is sent
// over the runner protocol.
const maxOutput = 8 << 10

// maxError bounds the text of an error in a message, in bytes. A message that is too long is not sent.
const maxError = 8 << 10

// minFree is the free space that the disks of attempts leave to other programs, in bytes.
const minFree = 1 << 30

// An attempt is a running runner with its files, its user and its sandbox.
type attempt struct {
	service *Service
	run     buildservice.Run
	log     logrus.FieldLogger
	uid     int
	disk    *disk.Disk // nil = the attempt has no disk of its own
	space   *attemptDisk
	dir     string // the runner's work directory, which only this attempt uses
	runner  *process.Process
	output  *text.LastLines
	control buildservice.Conn // the service's end of the runner's control socket
}

// run starts the runner of an attempt, and reports its end. If the connection closes first, it kills
// the runner.
func (s *Service) run(ctx context.Context, conn buildservice.Conn, run buildservice.Run) {
	life, end := context.WithCancel(ctx)
	defer end()
	a, release, err := s.start(life, run)
	if err != nil {
		s.o.Log.WithError(err).WithField("attempt", run.Attempt).Warn("cannot start the runner")
		_ = conn.Send(buildservice.Reply{Refused: text.Clip(err.Error(), maxError)}, nil)
		return
	}
	defer release()
	gone := make(chan struct{}) // closed when the gateway is gone
	go func() {
		defer close(gone)
		a.followGateway(conn)
	}()
	served := make(chan struct{})
	go func() {
		defer close(served)
		// An error of one attempt must not end the others.
		if err := safe.Do(func() error { a.serveRunner(life); return nil }); err != nil {
			a.log.WithError(err).Error("cannot serve further requests of the runner")
		}
	}()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if err := safe.Do(func() error { return a.space.watch(life) }); err != nil {
			a.log.WithError(err).Warn("the runner is stopped, because its files exceed their limit")
			a.runner.Stop(s.o.Grace)
		}
	}()
	_ = conn.Send(buildservice.Reply{Started: &buildservice.Empty{}}, nil) // gone is closed if it fails
	select {
	case <-a.runner.Ended():
	case <-gone:
		a.runner.Stop(s.o.Grace)
	}
	end()
	_ = a.control.Close()
	<-served
	<-watched
	ended := a.result()
	if err := a.removeDirs(); err != nil {
		a.log.WithError(err).Warn("cannot remove the files of an ended attempt")
	}
	_ = conn.Send(buildservice.Reply{Ended: &ended}, nil) // the gateway may be gone
}

// start checks a Run and starts its runner. The caller calls release at the end of the attempt, and then
// ends ctx.
func (s *Service) start(ctx context.Context, run buildservice.Run) (a *attempt, release func(), err error) {
	if err := run.Check(); err != nil {
		return nil, nil, err
	}
	uid, release, err := s.admit(run.Attempt)
	if err != nil {
		return nil, nil, err
	}
	a = &attempt{
		service: s,
		run:     run,
		log:     s.o.Log.WithField("attempt", run.Attempt),
		uid:     uid,
		output:  &text.LastLines{Limit: maxOutput},
	}
	go a.prepareBuilder(ctx)
	if err := a.startRunner(ctx); err != nil {
		release()
		return nil, nil, errors.Join(err, a.removeDirs())
	}
	return a, release, nil
}

// startRunner starts the runner with a clean environment. The runner gets its own directory, user and
// PID namespace. So its descendants end with it.
func (a *attempt) startRunner(ctx context.Context) error {
	if err := a.makeDirs(ctx); err != nil {
		return err
	}
	control, inherited, err := buildservice.Pair()
	if err != nil {
		return err
	}
	defer inherited.Close()
	//nolint:gosec,noctx // our own binary, no argument from outside; it outlives the call
	cmd := exec.Command(a.service.o.Program, "runner")
	cmd.Args[0] = "slipway" // its path may be that of a descriptor
	cmd.Dir = a.dir
	cmd.Env = a.environment()
	cmd.ExtraFiles = []*os.File{inherited} // descriptor 3
	cmd.Stdout, cmd.Stderr = a.output, a.output
	cmd.WaitDelay = time.Second
	if a.uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{
			//nolint:gosec // small positive numbers
			Credential: &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.service.o.GID)},
			Cloneflags: syscall.CLONE_NEWPID,
		}
	}
	a.control = control
	a.runner, err = process.Start(cmd, process.Options{})
	if err != nil {
		return errors.Join(fmt.Errorf("start the runner: %w", err), control.Close())
	}
	return nil
}

// makeDirs makes the runner's directory on a disk of its own. In it, makeDirs makes the workspace, which
// the runner shares with its build hooks.
func (a *attempt) makeDirs(ctx context.Context) (err error) {
	o := a.service.o
	top, bytes := o.attemptsDir(), o.WatchBytes
	if o.DiskBytes > 0 {
		if a.disk, bytes, err = a.makeDisk(ctx); err != nil {
			return err
		}
		top = a.disk.Path()
		//nolint:gosec // the runner passes through, and other runners list nothing
		if err := os.Chmod(top, 0o711); err != nil {
			return fmt.Errorf("protect the disk of the attempt: %w", err)
		}
	}
	a.dir = filepath.Join(top, a.run.Attempt)
	a.space = &attemptDisk{path: a.dir, bytes: bytes, reserve: minFree, own: a.disk != nil}
	for _, dir := range []string{a.dir, a.workspace()} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return fmt.Errorf("make a directory of the attempt: %w", err)
		}
		if a.uid == 0 {
			continue
		}
		if err := os.Lchown(dir, a.uid, a.service.o.GID); err != nil {
			return fmt.Errorf("change the owner of the runner's directory: %w", err)
		}
	}
	return nil
}

// makeDisk makes the disk of the attempt, and returns its size. If the machine has too little space for the usual
// size, it makes a smaller one.
func (a *attempt) makeDisk(ctx context.Context) (d *disk.Disk, bytes int64, err error) {
	o := disk.Options{
		Dir: a.service.o.attemptsDir(), Bytes: a.service.o.DiskBytes, Reserve: minFree, Setting: diskSetting,
	}
	for {
		d, err := disk.New(ctx, o)
		var space *disk.SpaceError
		if !errors.As(err, &space) || space.Smaller(minDisk) == 0 {
			return d, o.Bytes, err
		}
		o.Bytes = space.Smaller(minDisk)
		a.log.WithFields(logrus.Fields{"disk": size.Format(o.Bytes), "free": size.Format(space.Free)}).
			Warnf("the disk of a build is smaller than %s: free space on the disk of %s",
				size.Format(a.service.o.DiskBytes), o.Dir)
	}
}

// removeDirs removes the files of the attempt.
func (a *attempt) removeDirs() error {
	if a.disk != nil {
		return a.disk.Close()
	}
	if a.dir == "" {
		return nil
	}
	return os.RemoveAll(a.dir)
}

func (a *attempt) workspace() string { return filepath.Join(a.dir, "workspace") }

func (a *attempt) environment() []string {
	environ := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + a.dir, "TMPDIR=" + a.dir, "LANG=C.UTF-8",
		"SLIPWAY_RUNNER_URL=" + a.run.URL,
		"SLIPWAY_RUNNER_TOKEN=" + a.run.Token.Reveal(),
		"SLIPWAY_RUNNER_HOOKS=" + onOff(a.run.Hooks),
		"SLIPWAY_WORKDIR=" + a.dir,
		"SLIPWAY_WORKSPACE=" + a.workspace(),
		buildservice.ControlVar + "=3",
	}
	private, allowed := a.service.o.Policy.Settings()
	environ = append(environ, netpolicy.PrivateSetting+"="+private)
	if len(allowed) > 0 {
		environ = append(environ, netpolicy.AllowedSetting+"="+strings.Join(allowed, ","))
	}
	if address := a.foreignBuilder(); address != "" {
		environ = append(environ, "SLIPWAY_BUILDER="+address)
	}
	return append(environ, exceptGateway(a.service.o.Environ, a.run.URL)...)
}

// foreignBuilder returns the address of the attempt's builder if it is not one of the service's, else "".
func (a *attempt) foreignBuilder() string { return cmp.Or(a.run.Builder, a.service.o.Builder) }

// followGateway passes the first stop request to the runner. It returns when the connection closes, or
// at an invalid message.
func (a *attempt) followGateway(conn buildservice.Conn) {
	var once sync.Once
	for {
		request, err := receive(conn)
		if err != nil {
			return
		}
		if request.Stop != nil {
			once.Do(func() { go a.runner.Stop(a.service.o.Grace) })
		}
	}
}

func (a *attempt) result() buildservice.Ended {
	ended := buildservice.Ended{Output: string(bytes.TrimSpace(a.output.Bytes()))}
	if err := a.runner.Wait(); err != nil {
		ended.Error = err.Error()
	}
	a.log.WithField("result", ended.Error).Info("runner ended")
	return ended
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
