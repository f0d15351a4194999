package store

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"modernc.org/sqlite"

	"slipway/config/must"
)

// oneConnection returns a pool of one connection that keeps its statements, with a table of the numbers 1 to 3.
func oneConnection(t *testing.T) *sql.DB {
	t.Helper()
	connector, err := sqlite.NewConnector(dsn(filepath.Join(t.TempDir(), "numbers.db")))
	must.Succeed(t, err)
	db := sql.OpenDB(checkingConnector{connector})
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { must.Succeed(t, db.Close()) })
	execAll(t, db, `CREATE TABLE numbers (n INTEGER PRIMARY KEY)`, `INSERT INTO numbers VALUES (1), (2), (3)`)
	return db
}

func execAll(t *testing.T, db *sql.DB, texts ...string) {
	t.Helper()
	for _, text := range texts {
		_, err := db.ExecContext(t.Context(), text)
		must.Succeed(t, err)
	}
}

// kept returns the number of statements that the pool's connection keeps.
func kept(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	conn := must.Get[*sql.Conn](t)(db.Conn(t.Context()))
	defer conn.Close()
	must.Succeed(t, conn.Raw(func(inner any) error {
		n = len(inner.(*checkedConn).statements.kept)
		return nil
	}))
	return n
}

const larger = `SELECT n FROM numbers WHERE n > $1 ORDER BY n`

func numbers(t *testing.T, q querier, than int) []int {
	t.Helper()
	all, err := queryAll(t.Context(), q, func(r scanner) (n int, err error) { return n, r.Scan(&n) }, larger, than)
	must.Succeed(t, err)
	return all
}

func TestAStatementIsCompiledOnce(t *testing.T) {
	db := oneConnection(t)
	before := kept(t, db)
	for range 3 {
		if got := numbers(t, db, 1); fmt.Sprint(got) != "[2 3]" {
			t.Errorf("numbers: got %v, want [2 3]", got)
		}
	}
	if got := kept(t, db) - before; got != 1 {
		t.Errorf("kept statements: got %d more, want 1", got)
	}
}

// While the rows of a statement are open, the same text is another statement.
func TestAStatementRunsWithinItsOwnRows(t *testing.T) {
	tx := must.Get[*sql.Tx](t)(oneConnection(t).BeginTx(t.Context(), nil))
	defer func() { must.Succeed(t, tx.Rollback()) }()
	rows, err := tx.QueryContext(t.Context(), larger, 0)
	must.Succeed(t, err)
	defer rows.Close()
	var got []string
	for rows.Next() {
		var n int
		must.Succeed(t, rows.Scan(&n))
		got = append(got, fmt.Sprint(n, numbers(t, tx, n)))
	}
	must.Succeed(t, rows.Err())
	if want := "[1 [2 3] 2 [3] 3 []]"; fmt.Sprint(got) != want {
		t.Errorf("rows within rows: got %v, want %s", got, want)
	}
}

func TestTheNumberOfKeptStatementsIsLimited(t *testing.T) {
	db := oneConnection(t)
	for i := range maxStatements + 10 {
		execAll(t, db, fmt.Sprintf(`UPDATE numbers SET n = n WHERE n = %d`, i))
	}
	if got := kept(t, db); got > maxStatements {
		t.Errorf("kept statements: got %d, want at most %d", got, maxStatements)
	}
}

// After a failure, a changed schema or a canceled call, a statement is as good as new.
func TestAKeptStatementWorksAfterAFailure(t *testing.T) {
	db := oneConnection(t)
	const insert = `INSERT INTO numbers (n) VALUES ($1)`
	add := func(n int) error {
		_, err := db.ExecContext(t.Context(), insert, n)
		return err
	}
	must.Succeed(t, add(4))
	if err := add(4); err == nil {
		t.Error("a number that exists: got no error, want one")
	}
	must.Succeed(t, add(5))
	execAll(t, db, `ALTER TABLE numbers ADD COLUMN word TEXT NOT NULL DEFAULT 'x'`)
	must.Succeed(t, add(6))
	if got := numbers(t, db, 3); fmt.Sprint(got) != "[4 5 6]" {
		t.Errorf("numbers: got %v, want [4 5 6]", got)
	}
}

// A statement that is canceled while it runs can run again.
func TestAKeptStatementCanBeCanceled(t *testing.T) {
	db := oneConnection(t)
	const count = `WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < $1) SELECT COUNT(*) FROM c`
	sum := func(ctx context.Context, to int) (n int, err error) {
		return n, db.QueryRowContext(ctx, count, to).Scan(&n)
	}
	must.Get[int](t)(sum(t.Context(), 10))
	limited, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := sum(limited, 1<<40); err == nil {
		t.Error("canceled statement: got no error, want one")
	}
	if got := must.Get[int](t)(sum(t.Context(), 10)); got != 10 {
		t.Errorf("the same statement after that: got %d, want 10", got)
	}
}

// Rows that were not read to their end block no checkpoint.
func TestClosedRowsReleaseTheirStatement(t *testing.T) {
	db := oneConnection(t)
	execAll(t, db, `PRAGMA journal_mode = WAL`, `INSERT INTO numbers VALUES (7)`)
	var first int // QueryRow closes the rows after the first one
	must.Succeed(t, db.QueryRowContext(t.Context(), larger, 0).Scan(&first))
	var busy, pages, moved int
	must.Succeed(t, db.QueryRowContext(t.Context(), `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &pages, &moved))
	if busy != 0 {
		t.Error("checkpoint: got it blocked, want it done")
	}
}

func TestWhichStatementsAreKept(t *testing.T) {
	for text, want := range map[string]bool{
		"SELECT 1": true, "SELECT\n\tCOUNT(*)": true, " \n\tUPDATE numbers SET n = n": true,
		"PRAGMA user_version": false, "CREATE TABLE t (n)": false, "": false,
	} {
		if got := isKept(text); got != want {
			t.Errorf("%q: got %t, want %t", text, got, want)
		}
	}
}
