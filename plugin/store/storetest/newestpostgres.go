package storetest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"slipway/config/secret"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
)

// NewestPostgres returns the address of a database with the newest schema and no rows, which is
// dropped at the end of the test. It skips the test if PostgreSQL is not installed.
func NewestPostgres(t testing.TB) secret.Secret {
	t.Helper()
	server := requirePostgres(t)
	template, err := newestTemplate()
	if err != nil {
		t.Fatal(err)
	}
	// Copying files takes less time than the default strategy, which writes them to the log too.
	// Source: https://www.postgresql.org/docs/current/sql-createdatabase.html
	name := newName()
	if err := executeOn(server, `CREATE DATABASE `+name+` TEMPLATE `+template+` STRATEGY file_copy`); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := executeOn(server, `DROP DATABASE `+name+` WITH (FORCE)`); err != nil {
			t.Error(err)
		}
	})
	address, err := databaseOn(server, name)
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// newestTemplate returns the name of a database with the newest schema, which tests copy. A process
// creates it once, because running all migrations takes longer than most tests.
var newestTemplate = sync.OnceValues(makeNewestTemplate)

func makeNewestTemplate() (name string, err error) {
	if err := dropTemplate(); err != nil {
		return "", err
	}
	server, name := os.Getenv(postgresVariable), templateName()
	if err := executeOn(server, `CREATE DATABASE `+name); err != nil {
		return "", err
	}
	address, err := databaseOn(server, name)
	if err != nil {
		return "", err
	}
	return name, migrateTemplate(address)
}

// templateName returns the name of this process's template. Other processes may use the same server, also from other
// PID namespaces.
var templateName = sync.OnceValue(func() string { return "t_newest_" + strings.ToLower(rand.Text()) })

func dropTemplate() error {
	return executeOn(os.Getenv(postgresVariable), `DROP DATABASE IF EXISTS `+templateName())
}

// migrateTemplate creates the newest schema. It closes all connections, because a database with a
// connection cannot be copied.
func migrateTemplate(address secret.Secret) (err error) {
	dir, err := os.MkdirTemp("", "slipway-newest-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	sealer, err := seal.LoadOrCreate(filepath.Join(dir, "secret.key"), true)
	if err != nil {
		return err
	}
	s, err := store.Open(context.Background(), store.Options{Postgres: address, Sealer: sealer})
	if err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	// Each installation has its own id and key check.
	return executeOn(address.Reveal(), `DELETE FROM instance`)
}

// executeOn executes a statement with a connection of its own.
func executeOn(address, statement string) error {
	db, err := sql.Open("pgx", address)
	if err != nil {
		return err
	}
	_, err = db.Exec(statement) //nolint:noctx // also after the end of a test's context
	if err != nil {
		err = fmt.Errorf("%s: %w", statement, err)
	}
	return errors.Join(err, db.Close())
}

// databaseOn returns the address of a database on a server.
func databaseOn(server, name string) (secret.Secret, error) {
	u, err := url.Parse(server)
	if err != nil {
		return secret.Secret{}, err
	}
	u.Path = "/" + name
	return secret.New(u.String()), nil
}
