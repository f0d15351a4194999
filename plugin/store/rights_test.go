package store_test

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"
)

// An installation of before loses the roles viewer and member, and the sessions that hold no
// grant to read permissions with.
func TestRolesOfBeforeBecomePermissions(t *testing.T) {
	dir := t.TempDir()
	db, err := sql.Open("sqlite", filepath.Join(dir, "slipway.db"))
	if err != nil {
		t.Fatal(err)
	}
	before, err := goose.NewProvider(goose.DialectSQLite3, db, os.DirFS("migrations"), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := before.UpTo(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{"none", "viewer", "member", "admin"} {
		_, userErr := db.Exec(`INSERT INTO users (id, provider_id, remote_id, name, role, created_at) VALUES ($1, 'cloud', $1, $1, $1, 1)`, role)
		_, sessionErr := db.Exec(`INSERT INTO sessions (id, user_id, created_at, expires_at) VALUES ($1, $1, 1, 9000000000000)`, role)
		if err := errors.Join(userErr, sessionErr); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, dir)
	defer func() { _ = s.Close() }()
	users, err := s.Users(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	roles := map[string]string{}
	for _, u := range users {
		roles[u.Name] = string(u.Role)
	}
	if diff := cmp.Diff(map[string]string{"none": "none", "viewer": "none", "member": "none", "admin": "admin"}, roles); diff != "" {
		t.Errorf("roles (-want +got):\n%s", diff)
	}
	counts, err := s.SessionCounts(t.Context())
	if diff := cmp.Diff(map[string]int{"admin": 1}, counts); diff != "" || err != nil {
		t.Errorf("error %v, sessions (-want +got):\n%s", err, diff)
	}
}
