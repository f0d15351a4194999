package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver

	"slipway/config/secret"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
)

// Names of databases.
const (
	sqliteName   = "sqlite"
	postgresName = "postgres"
)

// A database is an installation's database and directory.
type database struct {
	dir     string
	address string // of PostgreSQL; empty = SQLite
	sealer  *seal.Sealer
}

// newDatabase makes a directory with the files of an installation. Without the address of a PostgreSQL server, its
// database is a SQLite file.
func newDatabase(ctx context.Context, work, name, server string) (d *database, err error) {
	d = &database{dir: filepath.Join(work, name)}
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		return nil, err
	}
	if server != "" {
		if d.address, err = createDatabase(ctx, server, "bench_"+name); err != nil {
			return nil, err
		}
	}
	if d.sealer, err = seal.LoadOrCreate(filepath.Join(d.dir, "secret.key"), true); err != nil {
		return nil, err
	}
	s, err := d.open(ctx) // runs the migrations
	if err != nil {
		return nil, err
	}
	return d, s.Close()
}

func createDatabase(ctx context.Context, server, name string) (address string, err error) {
	db, err := sql.Open("pgx", server)
	if err != nil {
		return "", err
	}
	_, err = db.ExecContext(ctx, `CREATE DATABASE `+name)
	if err := errors.Join(err, db.Close()); err != nil {
		return "", err
	}
	u, err := url.Parse(server)
	if err != nil {
		return "", err
	}
	u.Path = "/" + name
	return u.String(), nil
}

func (d *database) options() store.Options {
	o := store.Options{Path: filepath.Join(d.dir, "slipway.db"), Sealer: d.sealer}
	if d.address != "" {
		o.Postgres = secret.New(d.address)
	}
	return o
}

// open opens the database as a gateway does.
func (d *database) open(ctx context.Context) (*store.Store, error) {
	return store.Open(ctx, d.options())
}

// connect opens the database for statements of our own.
func (d *database) connect(ctx context.Context) (*sql.DB, error) {
	if d.address != "" {
		return sql.Open("pgx", d.address)
	}
	db, err := sql.Open("sqlite", d.options().Path)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	for _, pragma := range []string{"journal_mode = OFF", "synchronous = OFF", "cache_size = -200000"} {
		if _, err := db.ExecContext(ctx, "PRAGMA "+pragma); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	return db, nil
}

// connectBeside is connect while a gateway may run.
func (d *database) connectBeside(context.Context) (*sql.DB, error) {
	if d.address != "" {
		return sql.Open("pgx", d.address)
	}
	return sql.Open("sqlite", "file:"+d.options().Path+"?_pragma=busy_timeout(8000)")
}

// An index is an index of the schema.
type index struct{ name, create string }

// indexes returns the indexes that can be created after the rows, which takes less time.
func (d *database) indexes(ctx context.Context, db *sql.DB) (all []index, err error) {
	query := `SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL`
	if d.address != "" {
		query = `SELECT i.indexname, i.indexdef FROM pg_indexes i WHERE i.schemaname = 'public'
			AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conname = i.indexname)`
	}
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var one index
		if err := rows.Scan(&one.name, &one.create); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// fill fills the database, and returns its size in bytes.
func (d *database) fill(ctx context.Context, s size, at history) (bytes int64, err error) {
	if err := d.saveBase(ctx, at); err != nil {
		return 0, err
	}
	db, err := d.connect(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	all, err := d.indexes(ctx, db)
	if err != nil {
		return 0, err
	}
	for _, one := range all {
		if _, err := db.ExecContext(ctx, `DROP INDEX `+one.name); err != nil {
			return 0, err
		}
	}
	if err := d.fillConfiguration(ctx, db, s, at); err != nil {
		return 0, fmt.Errorf("configuration: %w", err)
	}
	if err := fillHistory(ctx, db, s, at); err != nil {
		return 0, fmt.Errorf("history: %w", err)
	}
	for _, one := range all {
		if _, err := db.ExecContext(ctx, one.create); err != nil {
			return 0, err
		}
	}
	sizeQuery := `SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()`
	if d.address != "" {
		sizeQuery = `SELECT pg_database_size(current_database())`
		if _, err := db.ExecContext(ctx, `VACUUM ANALYZE`); err != nil { // as autovacuum does
			return 0, err
		}
	}
	return bytes, db.QueryRowContext(ctx, sizeQuery).Scan(&bytes)
}
