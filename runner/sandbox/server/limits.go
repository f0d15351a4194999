package server

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moby/buildkit/executor"
	"github.com/sirupsen/logrus"

	"slipway/runner/sandbox"
	"slipway/runner/sandbox/cgroup"
)

// sweepTimeout bounds the removal of the groups of this builder, or of killed builders.
const sweepTimeout = 2 * time.Second

// limits are the groups that enforce the limits of a builder. One is for its own process. One is for all RUN
// steps, with a slot for each running step. nil = no limits. It is safe for concurrent use.
type limits struct {
	owner *cgroup.Owner
	run   cgroup.Group
	build cgroup.Limits // limits of each slot
	log   logrus.FieldLogger

	mu   sync.Mutex
	free []cgroup.Group // slots without a step
	made int            // number of slots
}

// openLimits makes the groups. It returns nil if limits are off, or if this machine cannot enforce them; then
// it logs the reason.
func openLimits(ctx context.Context, c Config) *limits {
	if !c.Limited {
		return nil
	}
	l, err := makeLimits(ctx, c)
	if err != nil {
		c.Log.WithField("why", err.Error()).Warn("RUN steps have no limits")
		return nil
	}
	return l
}

func makeLimits(ctx context.Context, c Config) (*limits, error) {
	if !sandbox.Privileged() {
		return nil, &cgroup.NotHeldError{
			Reason: "the builder is not root of the machine, and BuildKit then makes no cgroups",
			Fix:    "run the builder as root, by systemd or sudo",
		}
	}
	tree, err := cgroup.Find()
	if err != nil {
		return nil, err
	}
	sweep, cancel := context.WithTimeout(ctx, sweepTimeout)
	defer cancel()
	if left, err := tree.Sweep(sweep); err != nil {
		c.Log.WithError(err).Warn("cannot remove the cgroups of an ended builder; the next start tries again")
	} else if left != nil {
		c.Log.WithField("groups", left).Info("removed the cgroups of a killed builder")
	}
	d := cgroup.Decide(tree.Machine(), c.Limits)
	owner, err := tree.Own("builder", d.Builder)
	if err != nil {
		return nil, err
	}
	l := &limits{owner: owner, build: d.Build, log: c.Log}
	l.run, err = owner.Group.Group("run", d.All)
	if err != nil {
		l.close()
		return nil, err
	}
	c.Log.WithFields(logrus.Fields{
		"why":     strings.Join(d.Reasons, "; "),
		"all":     d.All.String(),
		"builder": d.Builder.String(),
		"cgroup":  owner.Path(),
	}).Info("limits of a build: " + d.Build.String())
	return l, nil
}

// close removes the groups. It kills the steps that still run.
func (l *limits) close() {
	if l == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), sweepTimeout)
	defer cancel()
	if err := l.owner.Close(ctx); err != nil {
		l.log.WithError(err).Warn("cannot remove the cgroups of this builder; the next start tries again")
	}
}

// wrap returns an executor whose steps have the limits.
func (l *limits) wrap(e executor.Executor) executor.Executor {
	if l == nil {
		return e
	}
	return limitedExecutor{Executor: e, limits: l}
}

// take returns a slot for a step. Slots are reused, because runc leaves a directory for each slot in
// every hierarchy.
func (l *limits) take() (cgroup.Group, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.free); n > 0 {
		slot := l.free[n-1]
		l.free = l.free[:n-1]
		return slot, nil
	}
	l.made++
	return l.run.Group(strconv.Itoa(l.made), l.build)
}

func (l *limits) put(slot cgroup.Group) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free = append(l.free, slot)
}
