// Package reporter sets Bitbucket's build statuses: one status for each (automated build, rule,
// ref) on a commit.
//
// Each report is a task of its own, so that a repeated report starts no build. The store creates the
// task in the transaction that creates a build or changes its state. The report sends the build's
// state at the time of the call, and not the state that caused the task. Reports of one status run one
// after another. A paused gateway or a timeout can break that order. A correction task then sends the
// current state again, so that the last status is the right one (correct.go).
//
// Package runner/report does not report to Bitbucket: runners use it for their reports to the gateway.
package reporter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
	"slipway/plugin/store/queue"
)

const (
	workers = 16
	// perRepository is the maximum number of concurrent reports of one repository. It keeps
	// workers free for other repositories if the calls of one repository hang.
	perRepository = 4
	// callTime is the timeout of one report.
	callTime = 30 * time.Second
	// outageLimit is how long reports are retried while the provider fails.
	outageLimit = 48 * time.Hour
	// relinkLimit is how long a report waits until a broken account is linked again.
	relinkLimit = 30 * 24 * time.Hour
	minPause    = 2 * time.Second
	maxPause    = time.Minute
)

// Options configure a Reporter. All but Now are required.
type Options struct {
	Store     Store
	Connector autobuild.Connector
	URL       string           // public base URL, without a trailing slash
	Now       func() time.Time // nil means time.Now
	Log       logrus.FieldLogger
}

// A Reporter handles report and correction tasks. It is safe for concurrent use.
type Reporter struct {
	o Options

	mu      sync.Mutex
	running map[string]int // concurrent reports by repository id
}

// New returns a Reporter.
func New(o Options) *Reporter {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Reporter{o: o, running: map[string]int{}}
}

// Register makes the reporter handle the report and correction tasks of a queue. Call it before
// the queue runs.
func (r *Reporter) Register(q *queue.Queue) {
	leaseOf := func(t queue.Task) lease {
		return lease{retried: t.Attempt > 1, isHeld: func(ctx context.Context) (bool, error) { return q.Holds(ctx, t) }}
	}
	report := func(ctx context.Context, t queue.Task) error { return r.report(ctx, t.Arg, leaseOf(t)) }
	correct := func(ctx context.Context, t queue.Task) error { return r.correct(ctx, t.Arg, leaseOf(t)) }
	q.Handle(autobuild.TaskReport, report, queue.Options{Workers: workers})
	q.Handle(autobuild.TaskCorrect, correct, queue.Options{Workers: workers})
}

// Report sends the current state of a build, for a caller that is the only reporter. It skips a
// state that was reported already, and a build that a newer build replaces. The error is one of
// package queue (Snooze) if a later retry can help. Report is safe for concurrent use.
func (r *Reporter) Report(ctx context.Context, buildID string) error {
	return r.report(ctx, buildID, lease{isHeld: func(context.Context) (bool, error) { return true, nil }})
}

// report is Report for a worker that holds the lease of the task.
func (r *Reporter) report(ctx context.Context, buildID string, l lease) error {
	b, err := r.o.Store.Build(ctx, buildID)
	if errors.Is(err, autobuild.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("load build %s: %w", buildID, err)
	}
	ctx = logctx.Build(ctx, b)
	if due, err := r.isDue(ctx, b); err != nil || !due {
		return err
	}
	if !r.acquireSlot(b.Repository.ID) {
		return queue.Snooze(pauseOf(r.o.Now().Sub(stateSince(b))))
	}
	defer r.releaseSlot(b.Repository.ID)
	began := r.o.Now()
	call, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	err = r.putStatus(call, b)
	unsure := l.retried || ctx.Err() != nil || r.o.Now().Sub(began) >= slowAfter
	if held, checkErr := r.confirm(ctx, b, l, unsure); checkErr != nil || !held {
		return checkErr
	}
	if ctx.Err() != nil && err != nil {
		return err // the gateway is stopping, and the provider did not respond
	}
	switch next := resultOf(err, r.o.Now().Sub(stateSince(b))); {
	case next.pause > 0:
		r.log(ctx, b).WithError(err).WithField("again", next.pause.String()).Warn("status not taken yet")
		return queue.Snooze(next.pause)
	case next.problem != "":
		r.log(ctx, b).WithError(err).Warn("status not taken")
		return r.markReported(ctx, b, next.problem)
	default:
		return r.markReported(ctx, b, "")
	}
}

// acquireSlot takes one of the perRepository slots of a repository. It returns false if none is
// free. Call releaseSlot afterwards.
func (r *Reporter) acquireSlot(repositoryID string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running[repositoryID] >= perRepository {
		return false
	}
	r.running[repositoryID]++
	return true
}

// releaseSlot returns a slot of a repository.
func (r *Reporter) releaseSlot(repositoryID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running[repositoryID]--
	if r.running[repositoryID] == 0 {
		delete(r.running, repositoryID)
	}
}

// isDue reports whether the build's state must be sent. It returns false if a newer build of the
// same rule, ref and commit exists, because both share one status.
func (r *Reporter) isDue(ctx context.Context, b autobuild.Build) (bool, error) {
	latest, err := r.o.Store.LatestBuild(ctx, b)
	if err != nil {
		return false, fmt.Errorf("find the newest build like %d: %w", b.Number, err)
	}
	if latest.ID != b.ID {
		return false, nil
	}
	if unsure, err := r.mayHaveEnded(ctx, b); unsure || err != nil {
		return false, err
	}
	reported, err := r.o.Store.Reported(ctx, b.ID)
	if errors.Is(err, autobuild.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("load the last report of build %d: %w", b.Number, err)
	}
	same := reported.Attempt == b.Attempt && reported.State == b.State && reported.Problem == ""
	return !same, nil
}

// mayHaveEnded reports whether a build is unfinished only in a restored backup. Its commit may show the result of an
// attempt that ended after the backup. The status stays until the build starts again.
func (r *Reporter) mayHaveEnded(ctx context.Context, b autobuild.Build) (bool, error) {
	if b.Reason == autobuild.ReasonRestored {
		return true, nil
	}
	if b.State.Final() {
		return false, nil
	}
	after, err := r.o.Store.AfterRestore(ctx, b)
	if err != nil {
		return false, fmt.Errorf("check the report of build %d: %w", b.Number, err)
	}
	return after.Unpolled || after.Moved, nil
}

// putStatus sends the status of a build's current state to its provider.
func (r *Reporter) putStatus(ctx context.Context, b autobuild.Build) error {
	instance, err := r.o.Store.InstanceID(ctx)
	if err != nil {
		return markTemporary(fmt.Errorf("load instance id: %w", err))
	}
	account, err := r.o.Store.AccountOf(ctx, b.ID)
	if err != nil {
		return markTemporary(err)
	}
	connection, err := r.o.Connector.Connect(ctx, account)
	if err != nil {
		return markTemporary(fmt.Errorf("connect for build %d: %w", b.Number, err))
	}
	shown, err := r.shownBuild(ctx, b)
	if err != nil {
		return markTemporary(err)
	}
	s := statusOf(shown, instance, r.o.URL)
	if err := connection.Statuses.Put(ctx, b.Repository, b.Commit.Hash, s); err != nil {
		return fmt.Errorf("put status %s of build %d on %s: %w", s.State, b.Number, b.Commit.Hash, err)
	}
	r.log(ctx, b).WithField("status", s.State).Info("status told")
	return nil
}

// shownBuild returns the build whose state the commit shows. A cancelled build says nothing about the commit, so
// the status of an earlier success of the same rule, ref and commit stays.
func (r *Reporter) shownBuild(ctx context.Context, b autobuild.Build) (autobuild.Build, error) {
	if b.State != autobuild.Cancelled {
		return b, nil
	}
	succeeded, err := r.o.Store.SucceededBuild(ctx, b)
	if errors.Is(err, autobuild.ErrNotFound) {
		return b, nil
	}
	return succeeded, err
}

// markReported records that the build's state was sent. problem is the provider's reason to refuse it,
// empty if it accepted the status.
func (r *Reporter) markReported(ctx context.Context, b autobuild.Build, problem string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTime)
	defer cancel()
	if err := r.o.Store.MarkReported(ctx, b.ID, b.Attempt, b.State, problem); err != nil {
		return fmt.Errorf("record the report of build %d: %w", b.Number, err)
	}
	return nil
}

func (r *Reporter) log(ctx context.Context, b autobuild.Build) logrus.FieldLogger {
	return logctx.Log(ctx, r.o.Log).WithField("state", b.State)
}

// stateSince returns the time at which the build entered its state.
func stateSince(b autobuild.Build) time.Time {
	switch {
	case b.State.Final():
		return b.FinishedAt
	case !b.StartedAt.IsZero():
		return b.StartedAt
	}
	return b.CreatedAt
}
