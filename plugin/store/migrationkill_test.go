package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"slipway/config/secret"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
	"slipway/plugin/store/storetest"
)

// stride returns the distance between two tested operations of the migrations. The long form tests all.
func stride(short int) int {
	if os.Getenv("SLIPWAY_TRUST") != "" {
		return 1
	}
	return short
}

// F2: a process is killed at each write and sync of each migration. The file is whole, its schema is that of
// one version, and the next start completes it.
func TestF2AKillDuringAMigrationOfSQLite(t *testing.T) {
	program, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("SKIPPED: strace, which is absent (Debian: apt-get install strace)")
	}
	t.Parallel()
	versions := schemasOf(t, goose.DialectSQLite3, "sqlite", filepath.Join(t.TempDir(), "slipway.db"))
	kills := 0
	for n := 1; ; n += stride(29) {
		dir := t.TempDir()
		if !killMigration(t, program, dir, n) {
			break
		}
		kills++
		path := filepath.Join(dir, "slipway.db")
		checkWhole(t, path)
		checkVersion(t, fmt.Sprint("kill at operation ", n), goose.DialectSQLite3, "sqlite", path, versions)
		if err := migrate(dir); err != nil {
			t.Errorf("start after a kill at operation %d: %v", n, err)
		}
		checkVersion(t, "the start after it", goose.DialectSQLite3, "sqlite", path, versions[len(versions)-1:])
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d kills", kills)
	if kills < 5 {
		t.Errorf("kills: got %d, want at least 5", kills)
	}
}

// killMigration starts a process that migrates a new database, and kills it at the nth write or sync of the
// database's files by one of its threads. It returns false if the process ended before.
func killMigration(t *testing.T, strace, dir string, n int) (killed bool) {
	t.Helper()
	const calls = "pwrite64,write,fsync,fdatasync,ftruncate,unlink"
	path := filepath.Join(dir, "slipway.db")
	c := exec.CommandContext(t.Context(), strace, "-f", "-o", "/dev/null", "-P", path, "-P", path+"-wal",
		"-P", path+"-journal", "-e", "trace="+calls, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", calls, n),
		os.Args[0])
	c.Env = append(os.Environ(), migrateIn+"="+dir)
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		if err != nil {
			t.Fatal(err)
		}
		return false
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); !ok || !status.Signaled() {
		t.Fatalf("process that is killed at operation %d: got %v, want a kill: %s", n, err, out)
	}
	return true
}

// F2: a gateway is killed at each statement of each migration. The schema is that of one version, and the
// next start completes it.
func TestF2AKillDuringAMigrationOfPostgreSQL(t *testing.T) {
	t.Parallel()
	versions := schemasOf(t, goose.DialectPostgres, "pgx", storetest.PostgresAddress(t).Reveal())
	sealer, err := seal.LoadOrCreate(filepath.Join(t.TempDir(), "secret.key"), true)
	if err != nil {
		t.Fatal(err)
	}
	cuts := 0
	for n := 1; ; n += stride(47) {
		address := storetest.PostgresAddress(t)
		if !cutMigration(t, address, sealer, n) {
			break
		}
		cuts++
		checkVersion(t, fmt.Sprint("kill at statement ", n), goose.DialectPostgres, "pgx", address.Reveal(), versions)
		s, err := store.Open(t.Context(), store.Options{Postgres: address, Sealer: sealer})
		if err != nil {
			t.Fatalf("start after a kill at statement %d: %v", n, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		checkVersion(
			t,
			"the start after it",
			goose.DialectPostgres,
			"pgx",
			address.Reveal(),
			versions[len(versions)-1:],
		)
	}
	t.Logf("%d kills", cuts)
	if cuts < 3 {
		t.Errorf("kills: got %d, want at least 3", cuts)
	}
}

// cutMigration opens an empty database, and breaks its connections at the nth statement. It returns false if
// there were fewer statements.
func cutMigration(t *testing.T, address secret.Secret, sealer *seal.Sealer, n int) (cut bool) {
	t.Helper()
	var mu sync.Mutex
	statements := 0
	proxy := storetest.Cutting(t, address, func(string) bool {
		mu.Lock()
		defer mu.Unlock()
		statements++
		return statements >= n
	})
	s, err := store.Open(t.Context(), store.Options{Postgres: proxy, Sealer: sealer})
	if err == nil {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if statements < n {
		return false
	}
	if err == nil {
		t.Errorf("open with a cut at statement %d: got no error, want one", n)
	}
	return true
}

// schemasOf migrates an empty database, and returns its schema after each version. Element 0 is the empty
// schema.
func schemasOf(t *testing.T, dialect goose.Dialect, driver, address string) (schemas []string) {
	t.Helper()
	db, err := sql.Open(driver, address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	p, err := goose.NewProvider(dialect, db, os.DirFS("migrations"), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	files, err := fs.Glob(os.DirFS("migrations"), "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	schemas = append(schemas, schemaOf(t, dialect, db))
	for version := range files {
		if _, err := p.UpTo(t.Context(), int64(version+1)); err != nil {
			t.Fatal(err)
		}
		schemas = append(schemas, schemaOf(t, dialect, db))
	}
	return schemas
}

// schemaOf returns the tables, columns and indexes of a database, without those of goose and of checks.
func schemaOf(t *testing.T, dialect goose.Dialect, db *sql.DB) string {
	t.Helper()
	query := `SELECT COALESCE(sql, name) FROM sqlite_schema WHERE tbl_name NOT LIKE 'goose%'
		AND name NOT LIKE 'sqlite%' AND name NOT LIKE 'check_%' ORDER BY name`
	if dialect == goose.DialectPostgres {
		query = `SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable, column_default)
			FROM information_schema.columns WHERE table_schema = current_schema() AND table_name NOT LIKE 'goose%'
			UNION ALL SELECT replace(indexdef, schemaname || '.', '') FROM pg_indexes
			WHERE schemaname = current_schema() AND tablename NOT LIKE 'goose%' AND indexname NOT LIKE 'check_%'
			ORDER BY 1`
	}
	rows, err := db.QueryContext(context.WithoutCancel(t.Context()), query)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var all strings.Builder
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		all.WriteString(line + "\n")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// checkVersion checks that the schema of a database is one of the versions.
func checkVersion(t *testing.T, when string, dialect goose.Dialect, driver, address string, versions []string) {
	t.Helper()
	db, err := sql.Open(driver, address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	got := schemaOf(t, dialect, db)
	for _, version := range versions {
		if got == version {
			return
		}
	}
	t.Errorf("%s: got a schema of no version (-newest +got):\n%s", when, cmp.Diff(versions[len(versions)-1], got))
}
