package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// readers is the maximum number of connections that read while another one writes.
const readers = 4

// A database holds the differences between SQLite and PostgreSQL. All SQL outside of database.go,
// sqlite.go and postgres.go is the same for both.
type database struct {
	dialect goose.Dialect
	write   *sql.DB // nil = the database is read-only
	read    *sql.DB
	kept    *sql.DB    // a connection of SQLite that stays open (keepReader)
	lock    *os.File   // locks the SQLite file for this process
	files   *dataFiles // nil = PostgreSQL
	clock   clock
	program string // version of this program; empty = unknown

	// lockWriters blocks a transaction until no other one writes. It is nil for SQLite, which has one
	// connection that writes.
	lockWriters func(ctx context.Context, tx *sql.Tx) error
}

func openDatabase(o Options) (*database, error) {
	if o.Postgres.IsZero() {
		return openSQLite(o.Path)
	}
	return openPostgres(o.Postgres)
}

// begin starts a transaction that excludes all other writers, also those of other processes. So
// the rows that it reads do not change until it commits.
func (d *database) begin(ctx context.Context) (*sql.Tx, error) {
	if err := d.files.check(); err != nil {
		return nil, err
	}
	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil || d.lockWriters == nil {
		return tx, err
	}
	if err := d.lockWriters(ctx, tx); err != nil {
		return nil, errors.Join(err, tx.Rollback())
	}
	return tx, nil
}

// migrate updates the schema to the version of this program. If several gateways start at once on
// PostgreSQL, the first one migrates and the others wait.
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
		return d.schemaError(ctx, current, target)
	}
	sqlite := d.dialect == goose.DialectSQLite3
	if sqlite && current < target {
		if err := d.dropCheckIndexes(ctx); err != nil {
			return fmt.Errorf("drop check indexes: %w", err)
		}
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	if !sqlite {
		return nil
	}
	if err := d.createCheckIndexes(ctx); err != nil {
		return fmt.Errorf("create check indexes: %w", err)
	}
	return nil
}

// checkSchema returns an error unless the schema has the version of this program.
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
		return d.schemaError(ctx, current, target)
	}
	return nil
}

func (d *database) migrations() (*goose.Provider, error) {
	return newMigrations(d.dialect, d.write)
}

func newMigrations(dialect goose.Dialect, db *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	options := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true)}
	if dialect == goose.DialectPostgres {
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 60)) // retries each second, for a minute
		if err != nil {
			return nil, err
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	return goose.NewProvider(dialect, db, files, options...)
}

func (d *database) close() error {
	var errs []error
	for _, db := range []*sql.DB{d.kept, d.read, d.write} { // the writer last, because it checkpoints SQLite's log
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	errs = append(errs, d.files.close())
	if d.lock != nil {
		errs = append(errs, d.lock.Close())
	}
	return errors.Join(errs...)
}

// connectReadOnly opens connections that cannot write.
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
