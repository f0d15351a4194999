package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"syscall"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
)

// lockFile takes the lock of the database, so that only one gateway uses it. The lock is held
// until the file is closed. The system releases it if the process dies.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = errors.New("another process uses it: stop that gateway, or use PostgreSQL for several gateways")
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// openSQLite opens one connection that writes, because SQLite supports one writer at a time, and
// several that read. A 2xx reply to Bitbucket means "stored", so every commit waits for the disk
// (synchronous=FULL).
func openSQLite(path string) (*database, error) {
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return &database{}, err
	}
	d := &database{dialect: goose.DialectSQLite3, lock: lock}
	return d, d.connectSQLite(path)
}

// connectSQLite creates the file if it does not exist, and opens the pools of connections.
func (d *database) connectSQLite(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	// SQLite gives its -wal and -shm files the mode of the database file.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	files, err := newDataFiles(f)
	if err := errors.Join(err, f.Chmod(0o600), f.Close()); err != nil {
		return err
	}
	d.files = files
	d.write, err = d.pool(1, dsn(path, "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)"))
	if err != nil {
		return err
	}
	d.read, err = d.pool(readers, dsn(path, "query_only(1)"))
	return err
}

// pool returns a pool of connections to the files of the database.
func (d *database) pool(size int, dsn string) (*sql.DB, error) {
	connector, err := d.connector(dsn)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db, nil
}

// connector returns the connector of a pool.
func (d *database) connector(dsn string) (driver.Connector, error) {
	connector, err := sqlite.NewConnector(dsn + "&mode=rw") // never creates a file
	if err != nil {
		return nil, err
	}
	return checkingConnector{guardedConnector{connector, d.files}}, nil
}

func dsn(path string, pragmas ...string) string {
	// Bitbucket's webhook times out after 10 s, so SQLite waits at most 8 s for a lock.
	q := url.Values{"_txlock": {"immediate"}, "_pragma": append([]string{"busy_timeout(8000)"}, pragmas...)}
	u := url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}
	return u.String()
}

// openSQLiteBeside opens the file without the gateway's lock. SQLite's own locks order the
// writers of several processes, and each transaction starts as a writer (dsn).
func openSQLiteBeside(path string) (*database, error) {
	d := &database{dialect: goose.DialectSQLite3}
	if _, err := os.Stat(path); err != nil {
		return d, fmt.Errorf("%w: check SLIPWAY_DATA, or start the gateway once", err)
	}
	return d, d.connectSQLite(path)
}

// checkpoint moves the changes of the log into the file. SQLite does it when the last connection is closed too, but
// then it ignores errors: on a full disk, the file would be incomplete without its log.
func (d *database) checkpoint(ctx context.Context) error {
	var busy, pages, moved int
	err := d.write.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &pages, &moved)
	if err == nil && busy != 0 {
		err = errors.New("another process uses the file")
	}
	if err != nil {
		return fmt.Errorf("move the log into the database: %w", err)
	}
	return nil
}

// keepReader opens a connection that reads, and keeps it until close. If a writer is closed because of an
// I/O error, it must not be the last connection: SQLite would then sync the same descriptors, and delete
// its log.
func (d *database) keepReader(ctx context.Context) (err error) {
	if d.files == nil {
		return nil // PostgreSQL
	}
	if d.kept, err = d.pool(1, dsn(d.files.path, "query_only(1)")); err != nil {
		return err
	}
	var tables int
	return d.kept.QueryRowContext(ctx, `SELECT COUNT(*) FROM sqlite_schema`).Scan(&tables)
}
