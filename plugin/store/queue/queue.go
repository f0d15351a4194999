// Package queue is a task table: tasks are written in the transaction that makes them
// due, leased to one worker at a time, fenced by their attempt, retried with jittered
// backoff and kept as dead letters when they do not succeed.
package queue

import (
	"context"
	"database/sql"
	"time"
)

// A Task is one row of the table.
type Task struct {
	ID      int64
	Kind    string
	Arg     string // what it is about: an id
	Attempt int    // from 1
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
	Dead        func(ctx context.Context, t Task, cause error) // told when a task is given up; may be nil
}

// A Handler does a task. An error is retried with backoff; Snooze postpones without
// counting an attempt; Permanent gives up at once.
type Handler func(ctx context.Context, t Task) error

// Queue works the tasks of one database.
type Queue struct{}

// Enqueue writes a task within the caller's transaction.
func (q *Queue) Enqueue(ctx context.Context, tx *sql.Tx, t NewTask) error { panic("stub") }

// Handle registers the handler of a kind; call it before Run.
func (q *Queue) Handle(kind string, h Handler, o Options) { panic("stub") }

// Run works until ctx ends, then waits for handlers under way.
func (q *Queue) Run(ctx context.Context) error { panic("stub") }

// Wake makes workers look at once; the store calls it after each commit that made tasks.
func (q *Queue) Wake() { panic("stub") }

// Depth returns how many tasks of a kind wait or run, and how many are dead.
func (q *Queue) Depth(ctx context.Context, kind string) (waiting, dead int, err error) { panic("stub") }

// Snooze postpones a task by d without counting an attempt.
func Snooze(d time.Duration) error { panic("stub") }

// Permanent wraps an error that no retry can mend.
func Permanent(err error) error { panic("stub") }
