package store_test

import (
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pressly/goose/v3"

	"slipway/plugin/store/seal"
)

// stored is the directory of the contents of databases that earlier versions wrote, at the time at which
// storetest.Clock starts. version5.json has rows of every table. The file of each later version has
// the rows that it can store and the versions before it could not.
const stored = "testdata/upgrade"

// firstStored is the version of the first schema with stored rows.
const firstStored = 5

// A table is one table of that database. A value is a string, a number, a boolean, null, or
// {"base64": "..."} for bytes.
type table struct {
	Name    string   `json:"name"`
	Columns []string `json:"columns"`
	Rows    [][]any  `json:"rows"`
}

// storedKey returns the key of the stored database. It sets the file mode, which Git does not
// store.
func storedKey(t *testing.T) *seal.Sealer {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(stored, "version5.key"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "secret.key")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	sealer, err := seal.LoadOrCreate(path, false)
	if err != nil {
		t.Fatal(err)
	}
	return sealer
}

// fill creates a database with the schema of a version, with the rows of that version and of each
// earlier one. It stores the rows of a version before the next migration, so that later migrations
// meet them.
func fill(t *testing.T, driver, address string, dialect goose.Dialect, version int64) {
	t.Helper()
	db, err := sql.Open(driver, address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	before, err := goose.NewProvider(dialect, db, os.DirFS("migrations"), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	for v := int64(firstStored); v <= version; v++ {
		if _, err := before.UpTo(t.Context(), v); err != nil {
			t.Fatal(err)
		}
		for _, one := range storedTables(t, v) {
			if len(one.Rows) == 0 {
				t.Errorf("rows of %s of version %d: got none, want some to upgrade", one.Name, v)
			}
			if v == firstStored {
				execute(t, db, `DELETE FROM `+one.Name) // the first migration inserts counters
			}
			insertRows(t, db, one)
		}
	}
}

func insertRows(t *testing.T, db *sql.DB, one table) {
	t.Helper()
	places := make([]string, len(one.Columns))
	for i := range places {
		places[i] = fmt.Sprintf("$%d", i+1)
	}
	columns, values := strings.Join(one.Columns, ", "), strings.Join(places, ", ")
	insert := fmt.Sprintf(`INSERT INTO %s (%s) VALUES (%s)`, one.Name, columns, values)
	for _, row := range one.Rows {
		if _, err := db.ExecContext(t.Context(), insert, row...); err != nil {
			t.Fatalf("%s: %v", insert, err)
		}
	}
}

// storedTables returns the rows of a version.
func storedTables(t *testing.T, version int64) (all []table) {
	t.Helper()
	f, err := os.Open(filepath.Join(stored, fmt.Sprintf("version%d.json", version)))
	if err != nil {
		t.Fatalf(
			"rows of a migration: %v: add rows with its new tables and columns, as the version with it writes them",
			err,
		)
	}
	defer func() { _ = f.Close() }()
	d := json.NewDecoder(f)
	d.UseNumber()
	if err := d.Decode(&all); err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		for _, row := range one.Rows {
			for i := range row {
				row[i] = columnOf(t, row[i])
			}
		}
	}
	return all
}

func columnOf(t *testing.T, value any) any {
	t.Helper()
	switch value := value.(type) {
	case json.Number:
		n, err := value.Int64()
		if err != nil {
			t.Fatal(err)
		}
		return n
	case map[string]any:
		data, err := base64.StdEncoding.DecodeString(fmt.Sprint(value["base64"]))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	return value
}
