// Package reporter tells Bitbucket how a build stands: one status for each (automated
// build, rule, ref) on a commit. A report is a task of its own, so that repeating it never
// starts anything, and it tells the build's state of the moment it is told, not of the
// moment it became due. Reports of one status follow each other; where that did not hold,
// because a gateway stood still or was not answered, the status is corrected (correct.go): who
// writes last writes how the build stands.
package reporter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/plugin/autobuild"
	"slipway/plugin/store"
	"slipway/plugin/store/queue"
	"slipway/plugin/trail"
)

const (
	workers = 16
	// perRepository is how many reports of one repository are under way at once: those that
	// hang leave workers to the others.
	perRepository = 4
	// callTime bounds one report.
	callTime = 30 * time.Second
	// keepTrying is how long a report is tried against a provider that fails.
	keepTrying = 48 * time.Hour
	// keepWaiting is how long a report waits for a broken account to be linked again.
	keepWaiting = 30 * 24 * time.Hour
	minPause    = 2 * time.Second
	maxPause    = time.Minute
)

// Options make a Reporter.
type Options struct {
	Store     *store.Store
	Connector autobuild.Connector
	URL       string           // public base URL, without a trailing slash
	Now       func() time.Time // nil = time.Now
	Log       logrus.FieldLogger
}

// A Reporter does the report tasks. It is safe for concurrent use.
type Reporter struct {
	o Options

	mu       sync.Mutex
	underWay map[string]int // by repository id
}

// New returns a Reporter.
func New(o Options) *Reporter {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Reporter{o: o, underWay: map[string]int{}}
}

// Register takes the report and correction tasks of a queue.
func (r *Reporter) Register(q *queue.Queue) {
	of := func(t queue.Task) claim {
		return claim{again: t.Attempt > 1, held: func(ctx context.Context) (bool, error) { return q.Holds(ctx, t) }}
	}
	q.Handle(store.TaskReport, func(ctx context.Context, t queue.Task) error { return r.report(ctx, t.Arg, of(t)) },
		queue.Options{Workers: workers})
	q.Handle(store.TaskCorrect, func(ctx context.Context, t queue.Task) error { return r.correct(ctx, t.Arg, of(t)) },
		queue.Options{Workers: workers})
}

// Report tells how a build stands now, for a caller that alone speaks of it. What was told
// already, or is no longer for this build to tell, is left out. The error is one of package
// queue's where waiting helps.
func (r *Reporter) Report(ctx context.Context, buildID string) error {
	return r.report(ctx, buildID, claim{held: func(context.Context) (bool, error) { return true, nil }})
}

func (r *Reporter) report(ctx context.Context, buildID string, c claim) error {
	b, err := r.o.Store.Build(ctx, buildID)
	if errors.Is(err, autobuild.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("load build %s: %w", buildID, err)
	}
	ctx = trail.Build(ctx, b)
	if due, err := r.due(ctx, b); err != nil || !due {
		return err
	}
	if !r.enter(b.Repository.ID) {
		return queue.Snooze(pauseOf(r.o.Now().Sub(since(b))))
	}
	defer r.leave(b.Repository.ID)
	began := r.o.Now()
	call, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	err = r.put(call, b)
	unsure := c.again || ctx.Err() != nil || r.o.Now().Sub(began) >= promptly
	if held, checkErr := r.check(ctx, b, c, unsure); checkErr != nil || !held {
		return checkErr
	}
	if ctx.Err() != nil && err != nil {
		return err // the gateway stops: the provider has said nothing
	}
	switch next := answer(err, r.o.Now().Sub(since(b))); {
	case next.pause > 0:
		r.log(ctx, b).WithError(err).WithField("again", next.pause.String()).Warn("status not taken yet")
		return queue.Snooze(next.pause)
	case next.problem != "":
		r.log(ctx, b).WithError(err).Warn("status not taken")
		return r.mark(ctx, b, next.problem)
	default:
		return r.mark(ctx, b, "")
	}
}

// enter takes one of a repository's places, if there is one; leave gives it back.
func (r *Reporter) enter(repositoryID string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.underWay[repositoryID] >= perRepository {
		return false
	}
	r.underWay[repositoryID]++
	return true
}

func (r *Reporter) leave(repositoryID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.underWay[repositoryID]--; r.underWay[repositoryID] == 0 {
		delete(r.underWay, repositoryID)
	}
}

// due reports whether the build's state is still to be told, and by this build: a newer build
// of the same rule, ref and commit speaks for both.
func (r *Reporter) due(ctx context.Context, b autobuild.Build) (bool, error) {
	latest, err := r.o.Store.LatestBuild(ctx, b)
	if err != nil {
		return false, fmt.Errorf("find the newest build like %d: %w", b.Number, err)
	}
	if latest.ID != b.ID {
		return false, nil
	}
	told, err := r.o.Store.Reported(ctx, b.ID)
	if errors.Is(err, autobuild.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("load what was told of build %d: %w", b.Number, err)
	}
	same := told.Attempt == b.Attempt && told.State == b.State && told.Problem == ""
	return !same, nil
}

func (r *Reporter) put(ctx context.Context, b autobuild.Build) error {
	instance, err := r.o.Store.InstanceID(ctx)
	if err != nil {
		return ours(fmt.Errorf("load instance id: %w", err))
	}
	account, err := r.o.Store.AccountOf(ctx, b.ID)
	if err != nil {
		return ours(err)
	}
	connection, err := r.o.Connector.Connect(ctx, account)
	if err != nil {
		return ours(fmt.Errorf("connect for build %d: %w", b.Number, err))
	}
	s := statusOf(b, instance, r.o.URL)
	if err := connection.Statuses.Put(ctx, b.Repository, b.Commit.Hash, s); err != nil {
		return fmt.Errorf("put status %s of build %d on %s: %w", s.State, b.Number, b.Commit.Hash, err)
	}
	r.log(ctx, b).WithField("status", s.State).Info("status told")
	return nil
}

func (r *Reporter) mark(ctx context.Context, b autobuild.Build, problem string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTime)
	defer cancel()
	if err := r.o.Store.MarkReported(ctx, b.ID, b.Attempt, b.State, problem); err != nil {
		return fmt.Errorf("note what was told of build %d: %w", b.Number, err)
	}
	return nil
}

func (r *Reporter) log(ctx context.Context, b autobuild.Build) logrus.FieldLogger {
	return trail.Log(ctx, r.o.Log).WithField("state", b.State)
}

// since is when the build came to the state it is in.
func since(b autobuild.Build) time.Time {
	switch {
	case b.State.Final():
		return b.FinishedAt
	case !b.StartedAt.IsZero():
		return b.StartedAt
	}
	return b.CreatedAt
}
