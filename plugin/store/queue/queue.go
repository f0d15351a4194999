// Package queue is a task queue in a database table. Tasks are inserted in the transaction that
// causes them. Each is leased to one worker at a time, and its attempt number is the fencing token
// of all its changes. Failed tasks are retried with jittered backoff, and kept as dead letters
// after the last attempt.
package queue

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config/discard"
)

// A Task is a claimed row of the table.
type Task struct {
	ID      int64
	Kind    string
	Arg     string // the subject of the task, usually an id
	Attempt int    // begins at 1

	lane string
}

// A NewTask is a task to enqueue. A Key, if not empty, is unique among the tasks of a kind that
// have not started; enqueuing a second one only makes the first one due at the earlier time of both. Tasks
// of one Lane run one after the other, in the order in which they were enqueued.
type NewTask struct {
	Kind  string
	Arg   string
	Key   string
	Lane  string
	RunAt time.Time // earliest start; zero = now
}

// Options configure the workers of a kind.
type Options struct {
	Workers     int           // maximum number of running handlers; 0 = 1
	MaxAttempts int           // attempts before the task is dead; 0 = 20
	Lease       time.Duration // renewed by a heartbeat while the handler runs; 0 = 30 s
	// Dead is called when a task is given up, before the task is marked dead. After a crash between
	// the two it is called again. nil = no call.
	Dead func(ctx context.Context, t Task, cause error)
}

// A Handler executes a task. After an error the task is retried with backoff. Snooze postpones it
// without counting an attempt, and Permanent gives it up at once. ctx ends with Run's ctx, and when
// the lease is lost. The handler must then return soon, because another worker may already run the
// task.
type Handler func(ctx context.Context, t Task) error

// Config configures a Queue. Only DB is required.
type Config struct {
	DB *sql.DB // read-write pool; the schema has tables tasks and counters
	// Read is a pool that sees each commit at once. It looks for due tasks, so that a claim that finds none
	// is no transaction. nil = DB.
	Read *sql.DB
	// Begin starts a transaction that excludes claims of other processes. nil = DB.BeginTx, which
	// is sufficient for a pool of one connection to SQLite.
	Begin func(ctx context.Context) (*sql.Tx, error)
	// Worker is the name of this process. If an earlier process with this name died, its running
	// tasks are due when Run begins, and not only when their leases end. Empty = no name.
	Worker string
	// Commit is called before (done false) and after (done true) each commit that claims or
	// completes a task. nil = no call.
	Commit func(operation string, done bool)
	Now    func() time.Time   // clock for leases and due times; nil = time.Now
	Log    logrus.FieldLogger // for errors that a retry fixes; nil = no log

	// Poll is the interval at which each kind looks for tasks that became due or that other
	// processes enqueued. 0 = 250 ms.
	Poll time.Duration
}

// A Queue runs the tasks of one database. It is safe for concurrent use.
type Queue struct {
	db     *sql.DB
	read   *sql.DB
	begin  func(context.Context) (*sql.Tx, error)
	worker string
	commit func(operation string, done bool)
	now    func() time.Time
	log    logrus.FieldLogger
	poll   time.Duration

	mu    sync.Mutex
	kinds map[string]*consumer
	open  map[*sql.Tx]*changes // of open transactions
}

// New returns a Queue. It runs no task before Run.
func New(c Config) *Queue {
	q := &Queue{
		db: c.DB, read: c.Read, begin: c.Begin, worker: c.Worker, commit: c.Commit,
		now: c.Now, log: c.Log, poll: c.Poll, kinds: map[string]*consumer{}, open: map[*sql.Tx]*changes{},
	}
	if q.read == nil {
		q.read = q.db
	}
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
		q.log = discard.Logger()
	}
	return q
}

// Handle registers the handler of a kind. Call it before Run.
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
	q.kinds[kind] = &consumer{
		queue: q, kind: kind, handle: h, options: o,
		wake: make(chan struct{}, 1), slots: make(chan struct{}, o.Workers),
	}
}

// Run runs tasks until ctx ends, and then waits for running handlers. It logs errors of the
// database and retries. It always returns nil.
func (q *Queue) Run(ctx context.Context) error {
	if err := q.recoverTasks(ctx); err != nil && ctx.Err() == nil {
		q.log.WithError(err).Warn("tasks of an earlier process wait until their leases end")
	}
	if err := q.wakeBlocked(ctx); err != nil && ctx.Err() == nil {
		q.log.WithError(err).Warn("tasks that an older version left behind others wait until the next start")
	}
	var running sync.WaitGroup
	for _, c := range q.consumers() {
		running.Go(func() { c.run(ctx) })
	}
	running.Wait()
	return nil
}

// changes are what a transaction does to tasks.
type changes struct {
	enqueued  []string // kinds
	completed []*claim
}

// EndTx must be called after the end of each transaction with Enqueue or CompleteIn. If it was committed, the
// consumers of the enqueued kinds look for tasks at once.
func (q *Queue) EndTx(tx *sql.Tx, committed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	done := q.open[tx]
	delete(q.open, tx)
	if done == nil || !committed {
		return
	}
	for _, kind := range done.enqueued {
		if c := q.kinds[kind]; c != nil {
			c.signal()
		}
	}
	for _, one := range done.completed {
		one.completed.Store(true)
	}
}

// record notes what a transaction does to tasks.
func (q *Queue) record(tx *sql.Tx, change func(*changes)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.open[tx] == nil {
		q.open[tx] = &changes{}
	}
	change(q.open[tx])
}

func (q *Queue) consumers() []*consumer {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := make([]*consumer, 0, len(q.kinds))
	for _, c := range q.kinds {
		all = append(all, c)
	}
	return all
}

// errSnooze and errPermanent are the errors of Snooze and Permanent.
type errSnooze struct{ delay time.Duration }

func (e errSnooze) Error() string { return fmt.Sprintf("again in %s", e.delay) }

type errPermanent struct{ cause error }

func (e errPermanent) Error() string { return e.cause.Error() }
func (e errPermanent) Unwrap() error { return e.cause }

// Snooze returns an error that postpones a task by d without counting an attempt.
func Snooze(d time.Duration) error { return errSnooze{d} }

// Permanent wraps an error that no retry can fix, so that the task is dead. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return errPermanent{err}
}

// IsPermanent reports whether Permanent wrapped err.
func IsPermanent(err error) bool {
	var p errPermanent
	return errors.As(err, &p)
}

// SnoozedFor returns the delay of an error of Snooze. ok is false for other errors.
func SnoozedFor(err error) (d time.Duration, ok bool) {
	var s errSnooze
	if !errors.As(err, &s) {
		return 0, false
	}
	return s.delay, true
}
