package service

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/sirupsen/logrus"

	"slipway/config/buildservice"
	"slipway/config/netpolicy"
	"slipway/runner/sandbox"
	"slipway/runner/sandbox/cgroup"
	"slipway/runner/sandbox/container"
	"slipway/runner/sandbox/network"
)

// SandboxOptions configure HostSandboxes. Dir and Log are required.
type SandboxOptions struct {
	Dir    string // directory for the sandboxes of this process alone; all users can traverse it
	Policy netpolicy.Policy
	Limits cgroup.Settings // limits of each attempt's build hooks
	// Unlimited means that memory, processes and processor time have no limit.
	Unlimited bool
	Log       logrus.FieldLogger
}

// HostSandboxes are sandboxes of level full on this machine. It is safe for concurrent use.
type HostSandboxes struct {
	o        SandboxOptions
	prepare  func() (*container.Host, error) // prepares the machine once
	prepared atomic.Pointer[container.Host]  // the result of prepare; nil = none yet
	groups   func() groups                   // makes the groups once
	made     atomic.Pointer[groups]          // the result of groups; nil = none yet
}

var _ Sandboxes = (*HostSandboxes)(nil)

// NewHostSandboxes returns the sandboxes of this machine. In the background, it removes the networks, the boxes and
// the groups that a killed process left. The first Level or Open prepares the machine, which takes a second of
// processor time, so builds without hooks never wait for it.
func NewHostSandboxes(ctx context.Context, o SandboxOptions) *HostSandboxes {
	s := &HostSandboxes{o: o}
	swept := sync.OnceFunc(func() { sweep(ctx, o) })
	go swept()
	s.prepare = sync.OnceValues(func() (*container.Host, error) {
		swept()
		host, err := prepareHost(ctx, o.Dir)
		if err != nil {
			if ctx.Err() == nil { // the service does not stop
				o.Log.WithError(err).Warn("build hooks are off")
			}
			return nil, err
		}
		s.prepared.Store(host)
		return host, nil
	})
	s.groups = sync.OnceValue(func() groups {
		all := makeGroups(o)
		s.made.Store(&all)
		return all
	})
	return s
}

// sweep removes all that a killed service left outside of its namespaces, and the files of its sandboxes.
func sweep(ctx context.Context, o SandboxOptions) {
	if err := container.Sweep(o.Dir); err != nil {
		o.Log.WithError(err).Warn("cannot remove the sandboxes of an earlier builder service")
	}
	if !sandbox.Privileged() {
		return
	}
	if err := network.Sweep(); err != nil {
		o.Log.WithError(err).Warn("cannot remove the networks of an earlier builder service")
	}
	if err := sweepGroups(ctx); err != nil && ctx.Err() == nil {
		o.Log.WithError(err).Warn("cannot remove the cgroups of an earlier builder service")
	}
}

// sweepGroups removes the groups of ended services and builders. A machine without groups has none to remove.
func sweepGroups(ctx context.Context) error {
	tree, err := cgroup.Find()
	if err != nil {
		return nil // makeGroups reports it
	}
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	_, err = tree.Sweep(ctx)
	return err
}

// prepareHost prepares the machine, and tries a sandbox.
func prepareHost(ctx context.Context, dir string) (*container.Host, error) {
	host, err := container.New(ctx, container.HostOptions{Dir: dir})
	if err != nil {
		return nil, err
	}
	if err := host.Try(ctx); err != nil {
		return nil, errors.Join(err, host.Close())
	}
	return host, nil
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
	if why := s.networkOff(); why != "" {
		level.NotHeld = append(level.NotHeld, "network: build hooks have none: "+why)
	}
	if !sandbox.Privileged() {
		level.NotHeld = append(
			level.NotHeld,
			"disk: the disk of a build is in memory, and caches are measured, so a build can exceed SLIPWAY_BUILDER_DISK "+
				"until it is stopped, because the builder service is not root of the machine",
		)
	}
	return level
}

// Close removes the files and the group of sandboxes. It kills all processes that are still in the
// group, including children of this process. So the caller must wait for its children first.
func (s *HostSandboxes) Close() {
	if host := s.prepared.Load(); host != nil {
		if err := host.Close(); err != nil {
			s.o.Log.WithError(err).Warn("cannot remove the files of the sandboxes")
		}
	}
	made := s.made.Load()
	if made == nil || made.owner == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := made.owner.Close(ctx); err != nil {
		s.o.Log.WithError(err).Warn("cannot remove the cgroups of the sandboxes")
	}
}

// Open makes a network and a sandbox on it.
func (s *HostSandboxes) Open(ctx context.Context, p Place) (Sandbox, error) {
	host, err := s.prepare()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOff, err)
	}
	if p.Disk == nil {
		return nil, fmt.Errorf("%w: the attempt has no disk of its own", ErrOff)
	}
	b := &hostSandbox{}
	if err := b.open(ctx, s, host, p); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// networkOff returns the reason why sandboxes have a loopback interface only; "" = they have a network.
func (s *HostSandboxes) networkOff() string {
	if sandbox.Privileged() {
		return ""
	}
	return sandbox.ReadNetworkFacts(false).NoSlirp
}

// slirp returns the path of slirp4netns for a service that is not root of the machine, else "".
func slirp() string {
	if sandbox.Privileged() {
		return ""
	}
	return sandbox.ReadNetworkFacts(false).Slirp
}

// groups enforce the limits of sandboxes.
type groups struct {
	owner   *cgroup.Owner // nil = memory and processor time have no limit
	limits  cgroup.Limits // limits of each attempt
	notHeld string        // the reason, if owner is nil
}

// makeGroups makes the group of all sandboxes of this process.
func makeGroups(o SandboxOptions) groups {
	if o.Unlimited {
		return groups{notHeld: "limits are off (--limits=false)"}
	}
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
