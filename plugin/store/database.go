package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// readers bounds the connections that read beside the writer.
const readers = 4

// A database is what SQLite and PostgreSQL differ in; all SQL beyond this file and theirs is
// the same text.
type database struct {
	dialect goose.Dialect
	write   *sql.DB // nil = opened for reading only
	read    *sql.DB
	lock    *os.File // held while the process has the SQLite file
	clock   clock

	// turn makes a transaction wait until no other writes; nil where one connection writes.
	turn func(ctx context.Context, tx *sql.Tx) error
}

func openDatabase(o Options) (*database, error) {
	if o.Postgres.IsZero() {
		return openSQLite(o.Path)
	}
	return openPostgres(o.Postgres)
}

// begin starts a transaction that no other writer overlaps, of this process or another one:
// what it reads stays true until it commits.
func (d *database) begin(ctx context.Context) (*sql.Tx, error) {
	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil || d.turn == nil {
		return tx, err
	}
	if err := d.turn(ctx, tx); err != nil {
		return nil, errors.Join(err, tx.Rollback())
	}
	return tx, nil
}

// migrate brings the schema to this program's version. Gateways that start together on
// PostgreSQL wait for the first of them.
func (d *database) migrate(ctx context.Context) error {
	p, err := d.migrations()
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	current, target, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	if current > target {
		return fmt.Errorf(
			"its schema has version %d, this program knows %d: it was used by a newer version, run that one",
			current,
			target,
		)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	return nil
}

// checkSchema fails unless the schema is this program's.
func (d *database) checkSchema(ctx context.Context) error {
	p, err := d.migrations()
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	current, target, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	if current != target {
		return fmt.Errorf(
			"its schema has version %d, this program knows %d: use the program of the gateway, and start the gateway once after an update",
			current,
			target,
		)
	}
	return nil
}

func (d *database) migrations() (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	options := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true)}
	if d.dialect == goose.DialectPostgres {
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 60)) // tries a minute, each second
		if err != nil {
			return nil, err
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	return goose.NewProvider(d.dialect, d.write, files, options...)
}

func (d *database) close() error {
	var errs []error
	for _, db := range []*sql.DB{d.read, d.write} { // the writer last: it checkpoints SQLite's log
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if d.lock != nil {
		errs = append(errs, d.lock.Close())
	}
	return errors.Join(errs...)
}

func connectReadOnly(o Options) (*sql.DB, error) {
	if !o.Postgres.IsZero() {
		c, err := postgresConfig(o.Postgres)
		if err != nil {
			return nil, err
		}
		c.RuntimeParams["default_transaction_read_only"] = "on"
		return postgresPool(*c, readers), nil
	}
	if _, err := os.Stat(o.Path); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", dsn(o.Path, "query_only(1)"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(readers)
	return db, nil
}

// A clock goes by the database's time, read at the start of each transaction, and by this
// process's monotonic clock in between: neither a wrong clock of the machine nor one that is
// set meanwhile moves a lease. Before the first reading it is the machine's. It is safe for
// concurrent use.
type clock struct {
	mu    sync.Mutex
	there time.Time // the database's, as last read
	here  time.Time // when that was
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.here.IsZero() {
		return time.Now()
	}
	return c.there.Add(time.Since(c.here))
}

func (c *clock) set(there time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.there, c.here = there, time.Now()
}
