package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"sync/atomic"
	"testing"

	"github.com/pressly/goose/v3"
	"github.com/sirupsen/logrus"

	"slipway/config/secret"
	"slipway/plugin/store/queue"
)

// Enqueue stores a task in its own transaction.
func Enqueue(t testing.TB, s *Store, task queue.NewTask) {
	t.Helper()
	err := s.tx(t.Context(), "enqueue", func(tx *sql.Tx) error { return s.tasks.Enqueue(t.Context(), tx, task) })
	if err != nil {
		t.Fatal(err)
	}
}

// SealedColumns returns the columns with sealed values, as "table.column", with the ids of their rows.
func SealedColumns() map[string][]string {
	all := map[string][]string{}
	for _, c := range sealedColumns() {
		all[c.table+"."+c.column] = c.ids
	}
	return all
}

// SealIn seals a value for a column.
func SealIn(t testing.TB, s *Store, table, column string) error {
	t.Helper()
	return s.tx(t.Context(), "seal", func(tx *sql.Tx) error {
		_, err := s.sealed(t.Context(), tx, table, column, secret.New("value"), "row")
		return err
	})
}

// SetPragma changes a setting of the connection that writes, for example synchronous=NORMAL.
func SetPragma(t testing.TB, s *Store, pragma string) {
	t.Helper()
	if _, err := s.write.ExecContext(t.Context(), "PRAGMA "+pragma); err != nil {
		t.Fatal(err)
	}
}

// CheckDurability runs the check of Open for connections to a PostgreSQL database with a value of synchronous_commit.
func CheckDurability(ctx context.Context, address secret.Secret, commit string, log logrus.FieldLogger) error {
	c, err := postgresConfig(address)
	if err != nil {
		return err
	}
	c.RuntimeParams["synchronous_commit"] = commit
	d := &database{dialect: goose.DialectPostgres, write: postgresPool(*c, 1)}
	return errors.Join(d.checkDurability(ctx, log), d.write.Close())
}

// DialPostgres connects like a store.
func DialPostgres(ctx context.Context, address string) (net.Conn, error) {
	c, err := postgresConfig(secret.New("postgres://slipway@db.example.com/slipway"))
	if err != nil {
		return nil, err
	}
	return c.DialFunc(ctx, "tcp", address)
}

// ExecWithoutTransaction executes a statement that commits by itself, as those of the task table.
func ExecWithoutTransaction(t testing.TB, s *Store, statement string) error {
	t.Helper()
	_, err := s.write.ExecContext(t.Context(), statement)
	return err
}

// ChangeInodes makes the inode of each file another one at each look, as some FUSE and network file systems do.
func ChangeInodes(s *Store) {
	var looks atomic.Uint64
	s.files.mu.Lock()
	defer s.files.mu.Unlock()
	s.files.identify = func(fs.FileInfo) fileID { return fileID{inode: looks.Add(1)} }
}

// CloseReaders closes the idle connections that read.
func CloseReaders(s *Store) {
	s.read.SetMaxIdleConns(0)
}

// CheckSettings returns the errors for settings of PostgreSQL.
func CheckSettings(commit, sync, fullPages string) error {
	d := durability{commit: commit, sync: sync, fullPages: fullPages}
	return errors.Join(d.checkCommit(), d.checkServer())
}

// WatchLists fails the test at each commit that changes what lists show, and not their version. It is only for SQLite.
func WatchLists(t testing.TB, s *Store) {
	t.Helper()
	statements := []string{
		`CREATE TEMP TABLE unseen (what TEXT)`,
		`CREATE TEMP TRIGGER lists_created AFTER INSERT ON main.counters WHEN NEW.name = 'lists'
			BEGIN DELETE FROM unseen; END`,
		`CREATE TEMP TRIGGER lists_changed AFTER UPDATE ON main.counters WHEN NEW.name = 'lists'
			BEGIN DELETE FROM unseen; END`,
	}
	for i, change := range []string{
		// The number of the newest build is a part of the version, so that INSERT is not here.
		`UPDATE OF state, ref_kind, ref_name, commit_hash, commit_message, image, tags, cause, received_at, started_at,
			finished_at ON main.builds`,
		`DELETE ON main.builds`,
		`INSERT ON main.automated_builds`, `UPDATE ON main.automated_builds`, `DELETE ON main.automated_builds`,
		`INSERT ON main.hooks`, `UPDATE OF state, provider_id, repository_id ON main.hooks`, `DELETE ON main.hooks`,
		`INSERT ON main.accounts`, `UPDATE ON main.accounts`, `DELETE ON main.accounts`,
		`UPDATE OF full_name ON main.repositories`,
	} {
		statements = append(statements, fmt.Sprintf(
			`CREATE TEMP TRIGGER unseen_%d AFTER %s BEGIN INSERT INTO unseen VALUES ('%s'); END`, i, change, change))
	}
	for _, statement := range statements {
		if _, err := s.write.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	commit := s.commit
	s.commit = func(what string, done bool) {
		commit(what, done)
		if !done {
			return
		}
		unseen, err := queryAll(context.Background(), s.write, scanID, `DELETE FROM unseen RETURNING what`)
		if err != nil || len(unseen) > 0 {
			t.Errorf("%s: got the changes %q and the error %v, want a new version of the lists", what, unseen, err)
		}
	}
}
