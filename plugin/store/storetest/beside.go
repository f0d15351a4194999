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

// postgresVariable is the address of a PostgreSQL server that tests make schemas in.
const postgresVariable = "SLIPWAY_TEST_POSTGRES"

// RunBesidePostgres runs a package's tests beside a PostgreSQL server, for its TestMain: one of its own,
// unless SLIPWAY_TEST_POSTGRES has the address of another. Where PostgreSQL is not installed
// the tests that need it are skipped.
func RunBesidePostgres(m interface{ Run() int }) int {
	if os.Getenv(postgresVariable) != "" {
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

// PostgresAddress returns the address of an empty database, a schema of its own that is
// dropped at the test's end. The test is skipped where there is no PostgreSQL.
func PostgresAddress(t testing.TB) secret.Secret {
	t.Helper()
	server := os.Getenv(postgresVariable)
	if server == "" {
		t.Skipf("SKIPPED: %v", errNoPostgres)
	}
	schema := "t_" + strings.ToLower(rand.Text())
	admin, err := sql.Open("pgx", server)
	if err == nil {
		_, err = admin.ExecContext(t.Context(), `CREATE SCHEMA `+schema)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := admin.Exec(`DROP SCHEMA ` + schema + ` CASCADE`); err != nil { //nolint:noctx // the test's context is over
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

// OpenPostgres opens a new store on PostgreSQL; the test's end closes it.
func OpenPostgres(t testing.TB) *store.Store {
	t.Helper()
	sealer, err := seal.LoadOrCreate(t.TempDir()+"/secret.key", true)
	if err != nil {
		t.Fatal(err)
	}
	return OpenPostgresAt(t, PostgresAddress(t), sealer, nil)
}

// OpenPostgresAt opens a store at an address, as one of its gateways, on a clock; nil = the
// database's.
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
