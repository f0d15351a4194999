package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config/buildservice"
	"slipway/config/netpolicy"
	"slipway/runner/sandbox"
	"slipway/runner/sandbox/cgroup"
	"slipway/runner/sandbox/container"
	"slipway/runner/sandbox/network"
	"slipway/runner/sandbox/rootfs"
)

// SandboxOptions configure HostSandboxes. Dir and Log are required.
type SandboxOptions struct {
	Dir    string // for the sandboxes of this process alone; all users can traverse it
	Policy netpolicy.Policy
	Limits cgroup.Settings // of each attempt's build hooks
	Log    logrus.FieldLogger
}

// HostSandboxes are sandboxes of level full on this machine. It is safe for concurrent use.
type HostSandboxes struct {
	o       SandboxOptions
	prepare func() (*container.Host, error) // prepares the machine once
	groups  func() groups
}

var _ Sandboxes = (*HostSandboxes)(nil)

// NewHostSandboxes returns the sandboxes of this machine. It prepares the machine in the background,
// which takes about a second.
func NewHostSandboxes(ctx context.Context, o SandboxOptions) *HostSandboxes {
	s := &HostSandboxes{o: o}
	s.prepare = sync.OnceValues(func() (*container.Host, error) {
		if sandbox.Privileged() {
			if err := network.Sweep(); err != nil {
				o.Log.WithError(err).Warn("networks of an earlier process stay")
			}
		}
		return container.New(ctx, container.HostOptions{Dir: o.Dir})
	})
	s.groups = sync.OnceValue(func() groups { return makeGroups(o) })
	go func() {
		if _, err := s.prepare(); err != nil {
			o.Log.WithError(err).Warn("build hooks are off")
		}
	}()
	return s
}

// Level waits until the machine is prepared.
func (s *HostSandboxes) Level() buildservice.Level {
	if _, err := s.prepare(); err != nil {
		return buildservice.Level{Hooks: buildservice.LevelOff, Why: err.Error()}
	}
	level := buildservice.Level{Hooks: buildservice.LevelFull}
	if why := s.groups().notHeld; why != "" {
		level.NotHeld = append(level.NotHeld, "memory, processor time: "+why)
	}
	return level
}

// Close removes the group of sandboxes. The kernel kills the processes that are still in it, and those
// that this process started, so the caller waits for them first.
func (s *HostSandboxes) Close() {
	owner := s.groups().owner
	if owner == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := owner.Close(ctx); err != nil {
		s.o.Log.WithError(err).Warn("cgroups of sandboxes stay")
	}
}

// Open makes a network and a sandbox on it.
func (s *HostSandboxes) Open(ctx context.Context, p Place) (Sandbox, error) {
	host, err := s.prepare()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOff, err)
	}
	b := &hostSandbox{log: s.o.Log.WithField("attempt", p.Attempt)}
	if err := b.open(ctx, host, s, p); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// A hostSandbox is a sandbox with its network and its group.
type hostSandbox struct {
	log       logrus.FieldLogger
	socket    *os.File
	container *container.Container
	undo      []func() error
}

func (b *hostSandbox) open(ctx context.Context, host *container.Host, s *HostSandboxes, p Place) error {
	router, err := network.NewRouter(ctx, network.Options{
		Filter: network.Filter{Policy: s.o.Policy}, Slirp: slirp(), Log: s.o.Log,
	})
	if err != nil {
		return fmt.Errorf("make the network of the sandbox: %w", err)
	}
	b.undo = append(b.undo, router.Close)
	ns, err := router.Join(ctx, "hooks")
	if err != nil {
		return fmt.Errorf("make the network of the sandbox: %w", err)
	}
	o := container.Options{
		Disk:      p.Disk,
		Workspace: rootfs.Workspace{Dir: p.Workspace, Owner: p.UID},
		Network:   ns.Path(),
		Files:     []rootfs.File{{Path: "/etc/resolv.conf", Data: []byte("nameserver " + ns.DNS().String() + "\n")}},
	}
	all := s.groups()
	if all.owner != nil {
		group, err := all.owner.Group.Group(p.Attempt, all.limits)
		if err != nil {
			return fmt.Errorf("limit the sandbox: %w", err)
		}
		b.undo = append(b.undo, func() error { return removeGroup(group) })
		o.Cgroup = group.Path()
		o.OnStopped = func() {
			if reason := group.Counters().Reason(all.limits); reason != "" {
				b.log.WithField("why", reason).Warn("build hooks met a limit")
			}
		}
	} else {
		o.Processes = int(all.limits.Processes)
	}
	b.container, err = host.Start(ctx, o)
	if err != nil {
		return err
	}
	b.socket, err = b.container.TakeSocket()
	return err
}

// Socket returns the connection to process 1.
func (b *hostSandbox) Socket() *os.File { return b.socket }

// Close ends the sandbox, its network and its group.
func (b *hostSandbox) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	var errs []error
	if b.container != nil {
		errs = append(errs, b.container.Close(ctx))
	}
	for i := len(b.undo) - 1; i >= 0; i-- {
		errs = append(errs, b.undo[i]())
	}
	return errors.Join(errs...)
}

// closeTimeout bounds the removal of a sandbox.
const closeTimeout = 30 * time.Second

func removeGroup(g cgroup.Group) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return g.Remove(ctx)
}

// slirp returns the path of slirp4netns for a service that is not root of the machine, else "".
func slirp() string {
	if sandbox.Privileged() {
		return ""
	}
	return sandbox.ReadNetworkFacts(false).Slirp
}

// groups hold the limits of sandboxes.
type groups struct {
	owner   *cgroup.Owner // nil = memory and processor time have no limit
	limits  cgroup.Limits // of each attempt
	notHeld string        // the reason, if owner is nil
}

// makeGroups makes the group of all sandboxes of this process.
func makeGroups(o SandboxOptions) groups {
	tree, err := cgroup.Find()
	if err != nil {
		return groups{limits: cgroup.Decide(cgroup.Machine{}, o.Limits).Build, notHeld: err.Error()}
	}
	limits := cgroup.Decide(tree.Machine(), o.Limits).Build
	if !sandbox.Privileged() {
		return groups{limits: limits, notHeld: "the builder service is not root of the machine"}
	}
	owner, err := tree.Own("service", cgroup.Limits{})
	if err != nil {
		return groups{limits: limits, notHeld: err.Error()}
	}
	return groups{owner: owner, limits: limits}
}

// sandboxDir returns the directory of sandboxes below the state.
func sandboxDir(state string) string { return filepath.Join(state, "sandboxes") }
