package store_test

import (
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"slipway/config/must"
	"slipway/plugin/store"
	"slipway/plugin/store/storetest"
)

// update rewrites the golden file.
var update = flag.Bool("update", false, "rewrite testdata/upgrade/read.golden")

// newestMigration returns the version of the newest migration.
func newestMigration(t *testing.T) (newest int64) {
	t.Helper()
	files, err := filepath.Glob("migrations/*.sql")
	must.Succeed(t, err)
	for _, file := range files {
		version, err := goose.NumericComponent(filepath.Base(file))
		must.Succeed(t, err)
		newest = max(newest, version)
	}
	return newest
}

// Databases of each schema since version 5 are upgraded, with rows in all tables. The store reads the
// same values from both databases, and each value that an earlier schema had.
func TestEachEarlierSchemaIsUpgraded(t *testing.T) {
	const golden = stored + "/read.golden"
	newest := newestMigration(t)
	if *update {
		must.Succeed(t, os.WriteFile(golden, []byte(strings.Join(upgradedSQLite(t, newest), "\n")+"\n"), 0o644))
	}
	content, err := os.ReadFile(golden)
	must.Succeed(t, err)
	want := strings.Split(strings.TrimSuffix(string(content), "\n"), "\n")
	for _, c := range []struct {
		name string
		read func(t *testing.T, version int64) []string
	}{{"SQLite", upgradedSQLite}, {"PostgreSQL", upgradedPostgres}} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(want, c.read(t, newest)); diff != "" {
				t.Fatalf("values of the newest schema (-want +got; -update accepts them):\n%s", diff)
			}
			for version := int64(firstStored); version < newest; version++ {
				t.Run(fmt.Sprint(version), func(t *testing.T) {
					got := c.read(t, version)
					if len(got) < 100 {
						t.Errorf("values: got %d, want all of version 5", len(got))
					}
					for _, line := range got {
						if _, found := slices.BinarySearch(want, line); !found {
							t.Errorf("value: got %q, want one as after an upgrade step by step", line)
						}
					}
				})
			}
		})
	}
}

func upgradedSQLite(t *testing.T, version int64) []string {
	t.Helper()
	path, clock := filepath.Join(t.TempDir(), "slipway.db"), storetest.NewClock()
	fill(t, "sqlite", path, goose.DialectSQLite3, version)
	s, err := store.Open(t.Context(), store.Options{Path: path, Sealer: storedKey(t), Now: clock.Now})
	must.Succeed(t, err)
	defer func() { must.Succeed(t, s.Close()) }()
	return readAll(t, s)
}

func upgradedPostgres(t *testing.T, version int64) []string {
	t.Helper()
	address, clock := storetest.PostgresAddress(t), storetest.NewClock()
	fill(t, "pgx", address.Reveal(), goose.DialectPostgres, version)
	return readAll(t, storetest.OpenPostgresAt(t, address, storedKey(t), clock.Now))
}

// Each migration has rows with a value in each of its new columns, and every table has rows.
func TestEachMigrationHasStoredRows(t *testing.T) {
	newest := newestMigration(t)
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "slipway.db"))
	must.Succeed(t, err)
	t.Cleanup(func() { _ = db.Close() })
	p, err := goose.NewProvider(goose.DialectSQLite3, db, os.DirFS("migrations"), goose.WithDisableGlobalRegistry(true))
	must.Succeed(t, err)
	_, err = p.UpTo(t.Context(), firstStored-1)
	must.Succeed(t, err)
	before := []string{}
	filled := map[string]bool{} // tables with rows
	for version := int64(firstStored); version <= newest; version++ {
		_, err := p.UpTo(t.Context(), version)
		must.Succeed(t, err)
		after := columns(t, db)
		values := map[string]bool{} // columns with a value
		for _, one := range storedTables(t, version) {
			filled[one.Name] = filled[one.Name] || len(one.Rows) > 0
			for _, row := range one.Rows {
				for i, column := range one.Columns {
					values[one.Name+"."+column] = values[one.Name+"."+column] || isSet(row[i])
				}
			}
		}
		for _, column := range after {
			if !slices.Contains(before, column) && !values[column] && version > firstStored {
				t.Errorf(
					"version %d: new column %s: got no row with a value, want one in version%[1]d.json",
					version,
					column,
				)
			}
		}
		before = after
	}
	for _, column := range before {
		if table, _, _ := strings.Cut(column, "."); !filled[table] {
			t.Errorf("table %s: got no stored row, want one", table)
			filled[table] = true // one error for each table
		}
	}
}

// isSet reports whether a column has another value than a migration gives to existing rows.
func isSet(value any) bool {
	switch value := value.(type) {
	case nil:
		return false
	case bool:
		return value
	case int64:
		return value != 0
	case string:
		return value != "" && value != "null"
	case []byte:
		return len(value) > 0
	}
	return true
}

// columns returns the columns of the program's tables, as "table.column".
func columns(t *testing.T, db *sql.DB) []string {
	t.Helper()
	return texts(t, db, `SELECT m.name || '.' || c.name FROM sqlite_schema m
		JOIN pragma_table_info(m.name) c
		WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name NOT LIKE 'goose_%'`)
}

// A schema of a newer program is refused, with both versions and the fix.
func TestANewerSchemaIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		driver  string
		options func(t *testing.T) (store.Options, string)
	}{
		"SQLite": {"sqlite", func(t *testing.T) (store.Options, string) {
			path := filepath.Join(t.TempDir(), "slipway.db")
			return store.Options{Path: path, Sealer: storedKey(t), Program: "v1.2.3"}, path
		}},
		"PostgreSQL": {"pgx", func(t *testing.T) (store.Options, string) {
			address := storetest.PostgresAddress(t)
			return store.Options{Postgres: address, Sealer: storedKey(t), Program: "v1.2.3"}, address.Reveal()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			o, address := c.options(t)
			s, err := store.Open(t.Context(), o)
			must.Succeed(t, err)
			must.Succeed(t, s.Close())
			db, err := sql.Open(c.driver, address)
			must.Succeed(t, err)
			defer func() { _ = db.Close() }()
			execute(t, db, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, TRUE)`)
			execute(t, db, `DROP INDEX builds_commit`)
			execute(t, db, `CREATE INDEX builds_commit ON builds (number)`) // no damage, but of the newer version
			_, err = db.ExecContext(
				t.Context(),
				`UPDATE instance SET value = $1 WHERE name = 'program'`,
				[]byte("v99.1.0"),
			)
			must.Succeed(t, err)
			for how, open := range map[string]func() (*store.Store, error){
				"gateway":  func() (*store.Store, error) { return store.Open(t.Context(), o) },
				"beside":   func() (*store.Store, error) { return store.OpenBeside(t.Context(), o) },
				"doctor's": func() (*store.Store, error) { return store.OpenReadOnly(t.Context(), o) },
			} {
				s, err := open()
				if err == nil {
					t.Errorf("%s: got no error, want one", how)
					must.Succeed(t, s.Close())
					continue
				}
				for _, want := range []string{"9999", fmt.Sprint(newestMigration(t)), "v99.1.0", "v1.2.3", "run that version or a newer one"} {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("%s: got error %q, want it with %q", how, err, want)
					}
				}
				if errors.Is(err, store.ErrDamaged) {
					t.Errorf("%s: got error %q, want no damage", how, err)
				}
			}
		})
	}
}
