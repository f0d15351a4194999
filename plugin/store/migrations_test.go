package store_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"slipway/plugin/autobuild"
)

// TestRegistriesBecomePushCredentials runs the statements of the migrations on a database that
// already has a credential. An installation keeps pushing with what it stored before credentials
// had a purpose.
func TestRegistriesBecomePushCredentials(t *testing.T) {
	const migration = "migrations/00007_registry_use.sql"
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "slipway.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	files, err := filepath.Glob("migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	for _, file := range files {
		if file == migration {
			execute(t, db, `INSERT INTO registries (id, host, username, password, insecure, checked_at, problem)
				VALUES ('r1', 'registry.example.com', 'robot', x'01', TRUE, 5, 'down')`)
		}
		statements, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if file <= migration {
			execute(t, db, string(statements))
		}
	}
	var got autobuild.Registry
	var boundTo sql.NullString
	err = db.QueryRowContext(t.Context(), `SELECT id, host, purpose, automated_build_id, username, insecure,
		problem FROM registries`).
		Scan(&got.ID, &got.Host, &got.Purpose, &boundTo, &got.Username, &got.Insecure, &got.Problem)
	if err != nil {
		t.Fatal(err)
	}
	want := autobuild.Registry{
		ID:       "r1",
		Host:     "registry.example.com",
		Purpose:  autobuild.RegistryPush,
		Username: "robot",
		Insecure: true,
		Problem:  "down",
	}
	if got != want {
		t.Errorf("row: got %+v, want %+v", got, want)
	}
	if boundTo.Valid {
		t.Errorf("bound to: got %q, want NULL", boundTo.String)
	}
}

func execute(t *testing.T, db *sql.DB, statements string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statements); err != nil {
		t.Fatalf("%.60s: %v", strings.TrimSpace(statements), err)
	}
}
