package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"slipway/config/must"
	"slipway/plugin/store"
	"slipway/plugin/store/storetest"
)

// flips is the number of changed bits in TestF25FlippedBitsAreFoundOrHarmless.
func flips() int {
	if os.Getenv("SLIPWAY_TRUST") == "1" {
		return 3000
	}
	return 40
}

// harmlessColumns are the columns without a copy in an index. A changed bit in one loses no push and builds none twice.
func harmlessColumns() map[string][]string {
	return map[string][]string{
		"counters":   {"value"},           // ahead: numbers are skipped; behind: found by CheckRows
		"leases":     {"holder", "until"}, // written again by its holder; a wrong holder's lease expires
		"log_chunks": {"data"},            // SQLite installations keep their logs in files
		"tasks":      {"error"},           // only shown
	}
}

// F25: After one bit of a closed database changed, a gateway does not start, or `slipway doctor
// --database` finds the damage, or all rows read as before, except for harmlessColumns.
func TestF25FlippedBitsAreFoundOrHarmless(t *testing.T) {
	path := fullDatabase(t)
	original := must.Get[[]byte](t)(os.ReadFile(path))
	tables := tablesAt(t, path)
	want := must.Get[string](t)(dump(t.Context(), path, tables))
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	results := map[string]int{}
	for range flips() {
		at := random.IntN(len(original))
		for original[at] == 0 && random.IntN(20) > 0 { // most zeros are free space
			at = random.IntN(len(original))
		}
		bit := byte(1) << random.IntN(8)
		result := flip(t, original, at, bit, tables, want)
		results[result]++
		if result == "silent" {
			t.Errorf("byte %d of page %d, bit %08b (seed %d): got other rows and no error, want an error",
				at%4096, at/4096+1, bit, seed)
		}
	}
	t.Logf("flipped bits: %v", results)
}

// F25: a changed bit in the definition of the table of migrations is no error of the migrations.
func TestF25ADamagedDefinitionIsFoundAtTheStart(t *testing.T) {
	path := fullDatabase(t)
	original := must.Get[[]byte](t)(os.ReadFile(path))
	table := bytes.LastIndex(original, []byte(`tablegoose_db_versiongoose_db_version`))
	column := bytes.Index(original[table:], []byte("TIMESTAMP"))
	if table < 0 || column < 0 {
		t.Fatalf("definition of the table: got no place for it, want one (%d, %d)", table, column)
	}
	if got := flip(t, original, table+column, 1, nil, ""); got != "found at start" {
		t.Errorf("changed type of a column: got %s, want found at start", got)
	}
}

// flip changes a bit in a copy of the database, and returns how it was found.
func flip(t *testing.T, original []byte, at int, bit byte, tables []string, want string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "slipway.db")
	changed := append([]byte(nil), original...)
	changed[at] ^= bit
	must.Succeed(t, os.WriteFile(path, changed, 0o600))
	s, err := store.Open(t.Context(), store.Options{Path: path, Sealer: storedKey(t), Now: storetest.NewClock().Now})
	if errors.Is(err, store.ErrDamaged) || errors.Is(err, store.ErrWrongKey) {
		return "found at start"
	}
	if err != nil {
		t.Errorf("open with byte %d changed: got error %v, want ErrDamaged", at, err)
		return "error"
	}
	defer s.Close()
	for _, check := range checksOf(s) {
		if _, err := check(t.Context()); errors.Is(err, store.ErrDamaged) {
			return "found by doctor"
		} else if err != nil {
			t.Errorf("check with byte %d changed: got error %v, want ErrDamaged", at, err)
		}
	}
	got, err := dump(t.Context(), path, tables)
	if err != nil || got != want {
		t.Logf("rows (-want +got):\n%s", cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")))
		return "silent"
	}
	return "harmless"
}

func checksOf(s *store.Store) []func(context.Context) (string, error) {
	return []func(context.Context) (string, error){s.CheckIntegrity, s.CheckForeignKeys, s.CheckRows,
		func(ctx context.Context) (string, error) { return checkSealed(ctx, s) },
	}
}

// checkSealed returns ErrDamaged if doctor finds a secret that does not open.
func checkSealed(ctx context.Context, s *store.Store) (string, error) {
	check, err := s.CheckSealed(ctx)
	if err == nil && len(check.Broken) > 0 {
		err = fmt.Errorf("%v: %w", check.Broken, store.ErrDamaged)
	}
	return fmt.Sprint(check.Values), err
}

// fullDatabase returns the path of a closed database with rows in every table.
func fullDatabase(t *testing.T) string {
	t.Helper()
	path, clock := filepath.Join(t.TempDir(), "slipway.db"), storetest.NewClock()
	fill(t, "sqlite", path, goose.DialectSQLite3, newestMigration(t))
	s := must.Get[*store.Store](
		t,
	)(
		store.Open(t.Context(), store.Options{Path: path, Sealer: storedKey(t), Now: clock.Now}),
	)
	must.Succeed(t, s.Close())
	db := must.Get[*sql.DB](t)(sql.Open("sqlite", path))
	defer db.Close()
	for _, table := range tablesOf(t, db) {
		var n int
		must.Succeed(t, db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM `+table).Scan(&n))
		if n == 0 {
			t.Errorf("rows of %s: got none, want some", table)
		}
	}
	return path
}

func tablesAt(t *testing.T, path string) []string {
	t.Helper()
	db := must.Get[*sql.DB](t)(sql.Open("sqlite", path))
	defer db.Close()
	return tablesOf(t, db)
}

func tablesOf(t *testing.T, db *sql.DB) []string {
	t.Helper()
	return texts(
		t,
		db,
		`SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name`,
	)
}

// dump returns all rows of all tables as text.
func dump(ctx context.Context, path string, tables []string) (string, error) {
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return "", err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	var all strings.Builder
	for _, table := range tables {
		if err := dumpTable(ctx, &all, db, table); err != nil {
			return "", err
		}
	}
	return all.String(), nil
}

func dumpTable(ctx context.Context, w io.Writer, db *sql.DB, table string) error {
	rows, err := db.QueryContext(ctx, `SELECT * FROM `+table+` NOT INDEXED ORDER BY rowid`)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	values := make([]any, len(columns))
	into := make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i, column := range columns {
			if slices.Contains(harmlessColumns()[table], column) {
				values[i] = nil
			}
		}
		fmt.Fprintf(w, "%s %v %q\n", table, columns, values)
	}
	return rows.Err()
}

// The check index of each table has all columns, except for harmlessColumns and those of tasks, and no query uses it.
func TestCheckIndexesHaveAllColumns(t *testing.T) {
	path := fullDatabase(t)
	db := must.Get[*sql.DB](t)(sql.Open("sqlite", path))
	defer db.Close()
	for _, table := range tablesOf(t, db) {
		if harmlessColumns()[table] != nil {
			continue // TestColumnsWithoutACheckIndexHaveAnotherCopy
		}
		var columns, indexed int
		must.Succeed(
			t,
			db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM pragma_table_info($1)`, table).Scan(&columns),
		)
		must.Succeed(t, db.QueryRowContext(t.Context(),
			`SELECT COUNT(*) FROM pragma_index_info($1)`, "check_"+table).Scan(&indexed))
		if table == "deliveries" || table == "log_chunks" {
			indexed++ // the body and the data
		}
		if indexed != columns {
			t.Errorf("columns in the check index of %s: got %d, want %d", table, indexed, columns)
		}
		var id, parent, unused int
		var plan string
		must.Succeed(t, db.QueryRowContext(t.Context(), `EXPLAIN QUERY PLAN SELECT * FROM `+table).
			Scan(&id, &parent, &unused, &plan))
		if strings.Contains(plan, "check_") {
			t.Errorf("plan: got %q, want no check index", plan)
		}
	}
}

// Each column of a waiting or running task, except for its error, has a copy in an index, and so has each name of
// another table without a check index. A counter that is behind is found, too.
func TestColumnsWithoutACheckIndexHaveAnotherCopy(t *testing.T) {
	path := fullDatabase(t)
	db := openFile(t, path)
	for table, harmless := range harmlessColumns() {
		copies := texts(t, db, `SELECT c.name FROM pragma_index_list($1) i JOIN pragma_index_info(i.name) c
			WHERE c.name IS NOT NULL`, table) // an expression has no name
		for _, column := range texts(t, db, `SELECT name FROM pragma_table_info($1)`, table) {
			if slices.Contains(copies, column) == slices.Contains(harmless, column) {
				t.Errorf("%s.%s: got it in %q, want it there unless it is harmless", table, column, copies)
			}
		}
	}
	s := must.Get[*store.Store](t)(store.OpenReadOnly(t.Context(), store.Options{Path: path, Sealer: storedKey(t)}))
	defer s.Close()
	for _, name := range []string{"tasks", "builds"} {
		execute(t, db, `UPDATE counters SET value = value - 8 WHERE name = '`+name+`'`)
		if _, err := s.CheckRows(t.Context()); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("counter of %s that is behind: got error %v, want ErrDamaged", name, err)
		}
		execute(t, db, `UPDATE counters SET value = value + 8 WHERE name = '`+name+`'`)
	}
}

// Each way in which SQLite reports damage is recognized, by a gateway that starts and by one that runs.
func TestDamageIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(content []byte) []byte
	}{
		"no database":   {func([]byte) []byte { return bytes.Repeat([]byte("not a database. "), 1000) }},
		"cut":           {func(b []byte) []byte { return b[:len(b)/2] }},
		"zeroed pages":  {func(b []byte) []byte { clear(b[8192:32768]); return b }},
		"no first page": {func(b []byte) []byte { clear(b[:4096]); return b }},
	} {
		t.Run(name, func(t *testing.T) {
			path := fullDatabase(t)
			content := must.Get[[]byte](t)(os.ReadFile(path))
			must.Succeed(t, os.WriteFile(path, c.damage(content), 0o600))
			_, err := store.Open(t.Context(), store.Options{Path: path, Sealer: storedKey(t)})
			if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "restore a backup") {
				t.Errorf("open: got error %v, want ErrDamaged with its fix", err)
			}
			_, err = store.OpenReadOnly(t.Context(), store.Options{Path: path, Sealer: storedKey(t)})
			if !errors.Is(err, store.ErrDamaged) {
				t.Errorf("open for reading: got error %v, want ErrDamaged", err)
			}
		})
	}
}

// A changed definition is damage, also if SQLite rejects the statements of its own check.
func TestAChangedFunctionOfAnIndexIsDamage(t *testing.T) {
	path := fullDatabase(t)
	content := must.Get[[]byte](t)(os.ReadFile(path))
	damaged := bytes.ReplaceAll(content, []byte("COALESCE"), []byte("COALESGE")) // free pages have it, too
	must.Succeed(t, os.WriteFile(path, damaged, 0o600))
	s := must.Get[*store.Store](t)(
		store.Open(t.Context(), store.Options{Path: path, Sealer: storedKey(t), Now: storetest.NewClock().Now}),
	)
	defer s.Close()
	if _, err := s.CheckIntegrity(t.Context()); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("check: got error %v, want ErrDamaged", err)
	}
}

// The checks of doctor pass on both databases, and find a row without its parent and a secret that does
// not open.
func TestChecksOfTheContent(t *testing.T) {
	for name, address := range map[string]func(t *testing.T) (driver, address string, o store.Options){
		"SQLite": func(t *testing.T) (string, string, store.Options) {
			t.Helper()
			path := filepath.Join(t.TempDir(), "slipway.db")
			return "sqlite", path, store.Options{Path: path}
		},
		"PostgreSQL": func(t *testing.T) (string, string, store.Options) {
			t.Helper()
			address := storetest.PostgresAddress(t)
			return "pgx", address.Reveal(), store.Options{Postgres: address}
		},
	} {
		t.Run(name, func(t *testing.T) {
			driver, place, o := address(t)
			dialect := goose.DialectSQLite3
			if driver == "pgx" {
				dialect = goose.DialectPostgres
			}
			fill(t, driver, place, dialect, newestMigration(t))
			o.Sealer, o.Now = storedKey(t), storetest.NewClock().Now
			s := must.Get[*store.Store](t)(store.Open(t.Context(), o))
			must.Succeed(t, s.Close())
			s = must.Get[*store.Store](t)(store.OpenReadOnly(t.Context(), o))
			defer s.Close()
			for i, check := range checksOf(s) {
				if note, err := check(t.Context()); err != nil || note == "" {
					t.Errorf("check %d: got note %q, error %v, want a note", i, note, err)
				}
			}
			db := must.Get[*sql.DB](t)(sql.Open(driver, place))
			defer db.Close()
			execute(
				t,
				db,
				`UPDATE registries SET password = (SELECT secret FROM hooks WHERE length(secret) > 0 LIMIT 1)`,
			)
			if _, err := checkSealed(t.Context(), s); !errors.Is(err, store.ErrDamaged) {
				t.Errorf("secrets: got error %v, want ErrDamaged", err)
			}
			execute(t, db, `UPDATE deliveries SET body = (SELECT password FROM registries LIMIT 1)`)
			if _, err := s.CheckRows(t.Context()); !errors.Is(err, store.ErrDamaged) {
				t.Errorf("rows: got error %v, want ErrDamaged", err)
			}
			if driver == "pgx" {
				execute(t, db, `ALTER TABLE rules DISABLE TRIGGER ALL`)
			}
			execute(t, db, `UPDATE rules SET automated_build_id = 'none'`)
			if _, err := s.CheckForeignKeys(t.Context()); !errors.Is(err, store.ErrDamaged) {
				t.Errorf("foreign keys: got error %v, want ErrDamaged", err)
			}
		})
	}
}

// With the extension amcheck, indexes of PostgreSQL are compared with their tables.
func TestAmcheckComparesIndexes(t *testing.T) {
	address := storetest.PostgresAddress(t)
	db := must.Get[*sql.DB](t)(sql.Open("pgx", address.Reveal()))
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), `CREATE EXTENSION amcheck`); err != nil {
		t.Skipf("SKIPPED: the extension amcheck, which is absent: %v", err)
	}
	s := must.Get[*store.Store](t)(store.Open(t.Context(), store.Options{Postgres: address, Sealer: storedKey(t)}))
	defer s.Close()
	note, err := s.CheckIntegrity(t.Context())
	if err != nil || !strings.Contains(note, "amcheck compared") {
		t.Errorf("integrity: got note %q, error %v, want amcheck in the note", note, err)
	}
}
