package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"slipway/plugin/store/queue"
)

// A SQLRecorder collects the texts of statements. It is safe for concurrent use.
type SQLRecorder struct {
	mu   sync.Mutex
	args map[string][]driver.NamedValue // of the first call, by text
}

func (r *SQLRecorder) add(text string, args []driver.NamedValue) {
	if strings.Contains(text, "unseen") { // of WatchLists
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.args == nil {
		r.args = map[string][]driver.NamedValue{}
	}
	if _, known := r.args[text]; !known {
		r.args[text] = slices.Clone(args)
	}
}

// Texts returns the recorded texts, sorted.
func (r *SQLRecorder) Texts() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.args))
}

// Args returns the arguments of the first call with a text.
func (r *SQLRecorder) Args(text string) (values []any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, arg := range r.args[text] {
		values = append(values, arg.Value)
	}
	return values
}

// RecordSQL replaces the connections of a store on SQLite by recorded ones. It is called before any other use.
func RecordSQL(t testing.TB, s *Store, r *SQLRecorder) {
	t.Helper()
	path := s.files.path
	for _, pool := range []struct {
		db      **sql.DB
		size    int
		pragmas []string
	}{
		{&s.write, 1, []string{"journal_mode(WAL)", "synchronous(OFF)", "foreign_keys(1)"}},
		{&s.read, readers, []string{"query_only(1)"}},
	} {
		c, err := s.connector(dsn(path, pool.pragmas...))
		if err := errors.Join(err, (*pool.db).Close()); err != nil {
			t.Fatal(err)
		}
		*pool.db = sql.OpenDB(recordingConnector{c, r})
		(*pool.db).SetMaxOpenConns(pool.size)
	}
	s.tasks = queue.New(queue.Config{DB: s.write, Read: s.read, Begin: s.begin, Worker: s.gateway, Now: s.Now})
}

// Explain returns the steps of SQLite's plan of a statement.
func Explain(t testing.TB, s *Store, text string, args []any) []string {
	t.Helper()
	scan := func(r scanner) (detail string, err error) {
		var id, parent, unused int
		return detail, r.Scan(&id, &parent, &unused, &detail)
	}
	steps, err := queryAll(t.Context(), s.read, scan, `EXPLAIN QUERY PLAN `+text, args...)
	if err != nil {
		t.Fatalf("explain %s: %v", text, err)
	}
	return steps
}

type recordingConnector struct {
	driver.Connector
	recorder *SQLRecorder
}

// Connect opens a connection.
func (c recordingConnector) Connect(ctx context.Context) (driver.Conn, error) {
	inner, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	connection, ok := inner.(*checkedConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("unexpected connection type %T", inner), inner.Close())
	}
	return &recordedConn{connection, c.recorder}, nil
}

type recordedConn struct {
	*checkedConn
	recorder *SQLRecorder
}

func (c *recordedConn) ExecContext(
	ctx context.Context, query string, args []driver.NamedValue,
) (driver.Result, error) {
	c.recorder.add(query, args)
	return c.checkedConn.ExecContext(ctx, query, args)
}

func (c *recordedConn) QueryContext(
	ctx context.Context, query string, args []driver.NamedValue,
) (driver.Rows, error) {
	if !strings.HasPrefix(query, "EXPLAIN") {
		c.recorder.add(query, args)
	}
	return c.checkedConn.QueryContext(ctx, query, args)
}

// RecordRestoredStart is what a gateway does at its start.
func RecordRestoredStart(t testing.TB, s *Store) error {
	t.Helper()
	return s.recordRestoredStart(t.Context())
}
