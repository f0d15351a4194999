package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"slipway/runner/sandbox"
	"slipway/runner/sandbox/disk"
	"slipway/runner/sandbox/guest"
	"slipway/runner/sandbox/rootfs"
)

const (
	// startTimeout is the time until process 1 must be ready. A loaded machine is slow.
	startTimeout = time.Minute
	// stopTimeout is the time that the kernel gets to end all processes of a killed sandbox.
	stopTimeout = 30 * time.Second
)

// Options configure Host.Start. Disk and Workspace are required.
type Options struct {
	Disk      *disk.Disk       // holds all files that the sandbox writes
	Workspace rootfs.Workspace // shared with the sandbox, in rootfs.WorkspacePath
	// Network is the path of a network namespace. runc opens it in a process of its own, so it must not
	// begin with /proc/self. Empty = a new one with a loopback interface only.
	Network string
	// Cgroup is the path of a cgroup with limits, below the mount point of each hierarchy. The sandbox gets
	// a group below it. Empty = no limits. In a user namespace that may not write there, it must be empty.
	Cgroup string
	// Processes is the largest number of processes and threads of the sandbox. It has an effect only if
	// the caller is not root of the machine; root uses Cgroup. 0 = no limit.
	Processes int
	// Files are written into the root file system, for example /etc/resolv.conf or a bundle of
	// certificate authorities.
	Files []rootfs.File
}

// A Container is a running sandbox. It is safe for concurrent use.
type Container struct {
	name   string
	client *guest.Client
	run    *runcProcess

	undo     []func() error // undo functions of Start, called in reverse order
	stopOnce sync.Once
	stopErr  error
}

// Start starts a sandbox and waits until process 1 is ready. The caller must close it. If Start returns
// an error, it has removed everything that it made.
func (h *Host) Start(ctx context.Context, o Options) (*Container, error) {
	c := &Container{}
	if err := c.start(ctx, h, o); err != nil {
		return nil, errors.Join(fmt.Errorf("start a sandbox: %w", err), c.Close(context.WithoutCancel(ctx)))
	}
	return c, nil
}

func (c *Container) start(ctx context.Context, h *Host, o Options) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := checkTraversable(o.Disk.Path()); err != nil {
		return err
	}
	ids, release, err := h.acquireIDs()
	if err != nil {
		return err
	}
	c.defers(func() error { release(); return nil })
	bundle, err := os.MkdirTemp(h.dir, prefix)
	if err != nil {
		return err
	}
	c.name = filepath.Base(bundle)
	c.defers(func() error { return os.RemoveAll(bundle) })
	files, err := makeDir(o.Disk.Path(), ids.First)
	if err != nil {
		return err
	}
	root, err := h.files.New(ctx, rootfs.Options{Dir: files, IDs: ids, Workspace: o.Workspace, Files: o.Files})
	if err != nil {
		return err
	}
	c.defers(root.Close)
	cgroup := path.Join("/", o.Cgroup, c.name)
	if o.Cgroup == "" && !sandbox.Privileged() {
		cgroup = "" // runc goes on if it cannot make one
	}
	spec, err := newSpec(root.Path(), ids, o.Network, cgroup)
	if err != nil {
		return err
	}
	r := runc{program: h.runtime, bundle: bundle, name: c.name, processes: o.Processes}
	c.client, c.run, err = r.start(ctx, spec)
	return err
}

// defers adds a function that Close calls.
func (c *Container) defers(f func() error) { c.undo = append(c.undo, f) }

// makeDir makes a directory that root of the sandbox can traverse, but no other user of this machine.
// The root file system below it has directories that all users may write to, such as /tmp.
func makeDir(parent string, root int) (string, error) {
	dir, err := os.MkdirTemp(parent, prefix)
	if err != nil {
		return "", err
	}
	if err := os.Chown(dir, -1, root); err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o710) //nolint:gosec // G302: see above
}

// Client returns a client for commands in the sandbox. After TakeSocket, it must not be used.
func (c *Container) Client() *guest.Client { return c.client }

// TakeSocket returns the socket to process 1 for another process, which uses it with guest.NewClient. The
// caller closes its copy after it was sent. The sandbox still ends at Close, and if this process ends.
func (c *Container) TakeSocket() (*os.File, error) {
	socket, err := c.client.Detach()
	if err != nil {
		return nil, fmt.Errorf("take the socket of a sandbox: %w", err)
	}
	return socket, nil
}

// Ended returns a channel that is closed when the sandbox has ended by itself, for example because
// process 1 was killed. The caller must still call Close.
func (c *Container) Ended() <-chan struct{} { return c.run.ended() }

// Output returns the last lines of runc and of process 1, for the operator's log. Usually it is empty. A
// command that took over process 1 can write any text to it.
func (c *Container) Output() string { return c.run.output() }

// Close kills all processes of the sandbox. It removes everything except the files on the disk, so the
// counters of its cgroup are lost. A container may be closed twice.
func (c *Container) Close(ctx context.Context) error {
	c.stopOnce.Do(func() { c.stopErr = c.stop(ctx) })
	return c.stopErr
}

func (c *Container) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	var errs []error
	if c.run != nil {
		_ = c.client.Close() // TakeSocket may have closed it
		errs = append(errs, c.run.kill(ctx))
		errs = append(errs, c.run.remove(ctx))
	}
	for _, undo := range slices.Backward(c.undo) {
		errs = append(errs, undo())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove the sandbox %s: %w", c.name, err)
	}
	return nil
}
