package storetest

import (
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"slipway/config/secret"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
)

// postgresVariable contains the address of a PostgreSQL server in which tests create schemas.
const postgresVariable = "SLIPWAY_TEST_POSTGRES"

// RunBesidePostgres runs the tests of a package with a PostgreSQL server, for TestMain. It starts
// a server, unless SLIPWAY_TEST_POSTGRES contains the address of one. Tests that need PostgreSQL
// are skipped if it is not installed.
func RunBesidePostgres(m interface{ Run() int }) int {
	if os.Getenv(postgresVariable) != "" {
		defer func() { _ = dropTemplate() }()
		return m.Run()
	}
	s, err := NewServer()
	if errors.Is(err, errNoPostgres) {
		return m.Run()
	}
	if err == nil {
		defer func() { _ = s.Close() }()
		err = s.Start()
	}
	if err == nil {
		err = os.Setenv(postgresVariable, s.Address(""))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "storetest:", err)
		return 1
	}
	return m.Run()
}

// PostgresAddress returns the address of an empty database: a new schema, which is dropped at the
// end of the test. It skips the test if PostgreSQL is not installed. Tests that do not run migrations
// use NewestPostgres, which takes a third of the time.
func PostgresAddress(t testing.TB) secret.Secret {
	t.Helper()
	server := requirePostgres(t)
	schema := newName()
	admin, err := sql.Open("pgx", server)
	if err == nil {
		_, err = admin.ExecContext(t.Context(), `CREATE SCHEMA `+schema)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, err := admin.Exec(`DROP SCHEMA ` + schema + ` CASCADE`) //nolint:noctx // the test's context has ended
		if err != nil {
			t.Errorf("drop the schema: %v", err)
		}
		_ = admin.Close()
	})
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return secret.New(u.String())
}

// requirePostgres returns the address of the tests' server. It skips the test if PostgreSQL is not
// installed.
func requirePostgres(t testing.TB) string {
	t.Helper()
	server := os.Getenv(postgresVariable)
	if server == "" {
		t.Skipf("SKIPPED: %v", errNoPostgres)
	}
	return server
}

// newName returns a name for a schema or a database.
func newName() string { return "t_" + strings.ToLower(rand.Text()) }

// OpenPostgres opens a new store on PostgreSQL, which is closed at the end of the test.
func OpenPostgres(t testing.TB) *store.Store {
	t.Helper()
	sealer, err := seal.LoadOrCreate(t.TempDir()+"/secret.key", true)
	if err != nil {
		t.Fatal(err)
	}
	return OpenPostgresAt(t, NewestPostgres(t), sealer, nil)
}

// OpenPostgresAt opens the store at an address, as one of its gateways. now is the clock; nil =
// the clock of the database.
func OpenPostgresAt(t testing.TB, address secret.Secret, sealer *seal.Sealer, now func() time.Time) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Postgres: address, Sealer: sealer, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	return s
}
