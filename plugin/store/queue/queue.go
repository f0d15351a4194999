// Package queue is a task table: tasks are written in the transaction that makes them
// due, leased to one worker at a time, fenced by their attempt, retried with jittered
// backoff and kept as dead letters when they do not succeed.
package queue

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// A Task is one row of the table.
type Task struct {
	ID      int64
	Kind    string
	Arg     string // what it is about: an id
	Attempt int    // from 1

	lane string
}

// A NewTask is a task to be. Key, when not empty, is unique among the unfinished tasks of its kind
// that have not started: a second one changes nothing. Tasks of one lane run one after
// the other, in the order they were made.
type NewTask struct {
	Kind  string
	Arg   string
	Key   string
	Lane  string
	RunAt time.Time // zero = now
}

// Options set a kind's workers.
type Options struct {
	Workers     int                                            // at once; default 1
	MaxAttempts int                                            // then dead; default 20
	Lease       time.Duration                                  // renewed by heartbeat while the handler runs; default 30 s
	Dead        func(ctx context.Context, t Task, cause error) // told when a task is given up, before it is marked so; again after a crash between; may be nil
}

// A Handler does a task. An error is retried with backoff; Snooze postpones without
// counting an attempt; Permanent gives up at once. Its context ends with Run's, and when
// the lease was lost; then it returns soon, and its task is at once another's.
type Handler func(ctx context.Context, t Task) error

// Config is what a Queue stands on.
type Config struct {
	DB *sql.DB // its pool writes; the schema has tables tasks and counters
	// Begin starts a transaction that no other process's claim overlaps; nil = DB.BeginTx,
	// for a pool of one connection to SQLite.
	Begin func(ctx context.Context) (*sql.Tx, error)
	// Worker names this process. What an earlier one of the name was working on when it died is
	// due at once when Run begins, in place of when its leases end. Empty = no name.
	Worker string
	// Commit is told of each change of a running task, before and after; nil = nobody is.
	Commit func(what string, done bool)
	Now    func() time.Time   // nil = time.Now; leases and due times run on it
	Log    logrus.FieldLogger // of faults that a later look mends; nil = silent

	// Poll is how often each kind looks without being woken, for tasks that become due and
	// those of other processes; 0 = 250 ms.
	Poll time.Duration
}

// Queue works the tasks of one database. It is safe for concurrent use.
type Queue struct {
	db     *sql.DB
	begin  func(context.Context) (*sql.Tx, error)
	worker string
	commit func(what string, done bool)
	now    func() time.Time
	log    logrus.FieldLogger
	poll   time.Duration

	mu    sync.Mutex
	kinds map[string]*worker
}

// New makes a Queue; nothing runs before Run.
func New(c Config) *Queue {
	q := &Queue{db: c.DB, begin: c.Begin, worker: c.Worker, commit: c.Commit, now: c.Now, log: c.Log, poll: c.Poll, kinds: map[string]*worker{}}
	if q.poll <= 0 {
		q.poll = 250 * time.Millisecond
	}
	if q.begin == nil {
		q.begin = func(ctx context.Context) (*sql.Tx, error) { return q.db.BeginTx(ctx, nil) }
	}
	if q.commit == nil {
		q.commit = func(string, bool) {}
	}
	if q.now == nil {
		q.now = time.Now
	}
	if q.log == nil {
		silent := logrus.New()
		silent.SetOutput(io.Discard)
		q.log = silent
	}
	return q
}

// Handle registers the handler of a kind; call it before Run.
func (q *Queue) Handle(kind string, h Handler, o Options) {
	if o.Workers <= 0 {
		o.Workers = 1
	}
	if o.MaxAttempts <= 0 {
		o.MaxAttempts = 20
	}
	if o.Lease <= 0 {
		o.Lease = 30 * time.Second
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.kinds[kind] = &worker{queue: q, kind: kind, handle: h, options: o, wake: make(chan struct{}, 1), slots: make(chan struct{}, o.Workers)}
}

// Run works until ctx ends, then waits for handlers under way. Faults of the database are
// logged and tried again; it returns nil.
func (q *Queue) Run(ctx context.Context) error {
	if err := q.takeUp(ctx); err != nil && ctx.Err() == nil {
		q.log.WithError(err).Warn("tasks of an earlier process wait until their leases end")
	}
	if err := q.mend(ctx); err != nil && ctx.Err() == nil {
		q.log.WithError(err).Warn("tasks that an older version left behind others wait until the next start")
	}
	var running sync.WaitGroup
	for _, w := range q.workers() {
		running.Go(func() { w.run(ctx) })
	}
	running.Wait()
	return nil
}

// Wake makes workers look at once; the store calls it after each commit that made tasks.
func (q *Queue) Wake() {
	for _, w := range q.workers() {
		w.look()
	}
}

func (q *Queue) workers() []*worker {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := make([]*worker, 0, len(q.kinds))
	for _, w := range q.kinds {
		all = append(all, w)
	}
	return all
}

// errSnooze and errPermanent are what Snooze and Permanent make.
type errSnooze struct{ delay time.Duration }

func (e errSnooze) Error() string { return fmt.Sprintf("again in %s", e.delay) }

type errPermanent struct{ cause error }

func (e errPermanent) Error() string { return e.cause.Error() }
func (e errPermanent) Unwrap() error { return e.cause }

// Snooze postpones a task by d without counting an attempt.
func Snooze(d time.Duration) error { return errSnooze{d} }

// Permanent wraps an error that no retry can mend; nil stays nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return errPermanent{err}
}

// IsPermanent reports whether err was wrapped by Permanent.
func IsPermanent(err error) bool {
	var p errPermanent
	return errors.As(err, &p)
}

// SnoozedFor returns the delay of an error made by Snooze.
func SnoozedFor(err error) (d time.Duration, ok bool) {
	var s errSnooze
	if !errors.As(err, &s) {
		return 0, false
	}
	return s.delay, true
}
