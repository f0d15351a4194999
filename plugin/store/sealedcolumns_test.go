package store_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/store"
	"slipway/plugin/store/storetest"
)

// plainColumns are the columns of bytes that are not sealed. instance.value is sealed in one row.
func plainColumns() []string { return []string{"deliveries.body", "log_chunks.data"} }

// S1: each column of bytes is known as sealed or as plain, so that no sealed value is missed by a
// change of the key.
func TestS1EachSealedColumnIsKnown(t *testing.T) {
	dir := t.TempDir()
	storetest.OpenAt(t, dir, time.Now)
	db, err := sql.Open("sqlite", filepath.Join(dir, "slipway.db"))
	must.Succeed(t, err)
	t.Cleanup(func() { _ = db.Close() })
	known := store.SealedColumns()
	texts, bytes := columnsOfType(t, db, "TEXT"), columnsOfType(t, db, "BYTEA")
	for _, column := range bytes {
		_, sealed := known[column]
		if plain := slices.Contains(plainColumns(), column); sealed == plain {
			t.Errorf("column %s: got sealed %t, plain %t, want one of them: add it to sealedColumns or to plainColumns",
				column, sealed, plain)
		}
	}
	for column, ids := range known {
		if !slices.Contains(bytes, column) {
			t.Errorf("column %s of sealedColumns: got none of type BYTEA in the schema, want one", column)
		}
		table, _, _ := strings.Cut(column, ".")
		for _, id := range ids {
			if !slices.Contains(texts, table+"."+id) {
				t.Errorf("id %s.%s of sealedColumns: got none of type TEXT in the schema, want one", table, id)
			}
		}
	}
}

func columnsOfType(t *testing.T, db *sql.DB, kind string) []string {
	t.Helper()
	return texts(t, db, `SELECT m.name || '.' || c.name FROM sqlite_schema m
		JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND c.type = $1`, kind)
}

// S1: a value of another column cannot be sealed, and only the functions that know the columns seal.
func TestS1OnlyKnownColumnsAreSealed(t *testing.T) {
	s := storetest.Open(t)
	must.Succeed(t, store.SealIn(t, s, "hooks", "secret"))
	if err := store.SealIn(t, s, "hooks", "problem"); err == nil || !strings.Contains(err.Error(), "sealedColumns") {
		t.Errorf("seal in another column: got error %v, want one that names sealedColumns", err)
	}
	files, err := filepath.Glob("*.go")
	must.Succeed(t, err)
	sealing := regexp.MustCompile(`(?i)sealer\.Seal\(`)
	var callers []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		must.Succeed(t, err)
		if sealing.Match(text) && !strings.HasSuffix(file, "_test.go") {
			callers = append(callers, file)
		}
	}
	for _, file := range callers {
		// The others seal the key check.
		if !slices.Contains([]string{"sealedcolumns.go", "keys.go", "open.go", "instance.go"}, file) {
			t.Errorf("%s: got a call of Sealer.Seal, want one of Store.sealed", file)
		}
	}
	if !slices.Contains(callers, "sealedcolumns.go") {
		t.Errorf("callers of Sealer.Seal: got %v, want sealedcolumns.go among them", callers)
	}
}
