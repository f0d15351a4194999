// Package store keeps everything the gateway must not lose: one SQL text for SQLite and
// PostgreSQL over database/sql. Each noun has a file; what several nouns change together
// is one method and one transaction. Stations hand work to each other by a row and a task
// written in the same transaction (package queue).
package store

import (
	"context"
	"time"

	"slipway/plugin/store/queue"
	"slipway/plugin/store/seal"
)

// Kinds of tasks. Their argument is a single id.
const (
	TaskPlan     = "plan"     // delivery id → planner; lane = hook id, so that one repository's deliveries keep their order
	TaskDispatch = "dispatch" // build id → dispatcher
	TaskReport   = "report"   // build id → reporter; lane = build id
)

// Options open a Store.
type Options struct {
	Path   string           // of the SQLite file; its directory exists
	Sealer *seal.Sealer     // encrypts secret columns
	Now    func() time.Time // nil = time.Now
}

// A Store is the gateway's database. It is safe for concurrent use.
type Store struct {
	tasks *queue.Queue
}

// Open opens and migrates the database; a file that another process holds is refused.
func Open(ctx context.Context, o Options) (*Store, error) { panic("stub") }

// Close closes the database; calls under way fail.
func (s *Store) Close() error { panic("stub") }

// Ping reports whether the database answers and takes writes.
func (s *Store) Ping(ctx context.Context) error { panic("stub") }

// InstanceID names this installation; made at the first start, never changed.
func (s *Store) InstanceID(ctx context.Context) (string, error) { panic("stub") }

// Tasks is the task table of this database.
func (s *Store) Tasks() *queue.Queue { return s.tasks }
