package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"golang.org/x/sys/unix"

	"slipway/config/secret"
)

const (
	// writers is the maximum number of connections that write. One of them at a time holds the
	// writers' lock. The others renew leases, append to logs, or wait for the lock in order.
	writers = 4
	// writersLock is the first half of the advisory lock's key, "slip". The second half is the
	// hash of the schema's name.
	writersLock    = 0x736c6970
	connectTimeout = 5 * time.Second
	// unackedTimeout is how long sent data may stay unacknowledged. A machine that disappeared
	// sends no reply. Without a limit its clients would wait 15 minutes, although the database
	// may run elsewhere by then.
	unackedTimeout = 20 * time.Second
)

// openPostgres connects to PostgreSQL. Several gateways may share the database. Every commit
// waits for the server's disk, whatever the server's default is.
func openPostgres(address secret.Secret) (*database, error) {
	d := &database{dialect: goose.DialectPostgres}
	c, err := postgresConfig(address)
	if err != nil {
		return d, err
	}
	d.write = postgresPool(*c, writers)
	d.read = postgresPool(*c, readers)
	d.lockWriters = func(ctx context.Context, tx *sql.Tx) error { return waitForWriters(ctx, tx, &d.clock) }
	return d, nil
}

func postgresConfig(address secret.Secret) (*pgx.ConnConfig, error) {
	c, err := pgx.ParseConfig(address.Reveal())
	if err != nil {
		return nil, fmt.Errorf(
			"parse address: use one like postgres://slipway@db.example.com/slipway?sslmode=verify-full: %w",
			err,
		)
	}
	c.ConnectTimeout = min(c.ConnectTimeout, connectTimeout)
	if c.ConnectTimeout <= 0 {
		c.ConnectTimeout = connectTimeout
	}
	c.DialFunc = dialer().DialContext
	for name, value := range map[string]string{
		"synchronous_commit": "on",
		// Bitbucket's webhook times out after 10 s, so the limit is lower.
		"lock_timeout":      "8s",
		"statement_timeout": "30s",
		// A gateway that hangs while it holds the writers' lock must not block the others.
		"idle_in_transaction_session_timeout": "10s",
		"application_name":                    "slipway",
	} {
		c.RuntimeParams[name] = value
	}
	return c, nil
}

// bulkConfig is postgresConfig for statements that read or write whole tables: they have no time limit.
func bulkConfig(address secret.Secret) (*pgx.ConnConfig, error) {
	c, err := postgresConfig(address)
	if err != nil {
		return nil, err
	}
	c.RuntimeParams["statement_timeout"] = "0"
	c.RuntimeParams["idle_in_transaction_session_timeout"] = "0"
	return c, nil
}

// dialer returns a dialer whose connections break soon after the server disappeared. It uses
// TCP_USER_TIMEOUT (tcp(7)) for unacknowledged data and keep-alive for idle connections.
func dialer() *net.Dialer {
	return &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{
			Enable:   true,
			Idle:     unackedTimeout / 4,
			Interval: unackedTimeout / 4,
			Count:    3,
		},
		Control: func(network, _ string, c syscall.RawConn) error {
			if !strings.HasPrefix(network, "tcp") {
				return nil
			}
			var set error
			err := c.Control(func(fd uintptr) {
				set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT,
					int(unackedTimeout.Milliseconds()))
			})
			return errors.Join(err, set)
		},
	}
}

func postgresPool(c pgx.ConnConfig, size int) *sql.DB {
	db := sql.OpenDB(textSafeConnector{stdlib.GetConnector(c)})
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return db
}

// waitForWriters waits until no other transaction holds the writers' lock, and takes it until the
// transaction ends. Then it reads the database's clock. PostgreSQL evaluates the selected columns
// in order.
func waitForWriters(ctx context.Context, tx *sql.Tx, c *clock) error {
	var void any
	var now int64
	err := tx.QueryRowContext(ctx, `SELECT pg_advisory_xact_lock($1::int4, hashtext(current_schema())),
		(extract(epoch FROM clock_timestamp()) * 1000)::int8`,
		writersLock).
		Scan(&void, &now)
	if err != nil {
		return fmt.Errorf("wait for other writers: %w", err)
	}
	c.set(time.UnixMilli(now))
	return nil
}

// A textSafeConnector opens connections that accept any text. A commit message or a header may
// contain bytes that PostgreSQL does not accept in TEXT.
type textSafeConnector struct{ driver.Connector }

func (c textSafeConnector) Connect(ctx context.Context) (driver.Conn, error) {
	inner, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	connection, ok := inner.(*stdlib.Conn)
	if !ok {
		return nil, fmt.Errorf("unexpected connection type %T", inner)
	}
	return textSafeConn{connection}, nil
}

type textSafeConn struct{ *stdlib.Conn }

// CheckNamedValue converts an argument as database/sql does. In text it replaces invalid UTF-8
// and zero bytes by U+FFFD.
func (c textSafeConn) CheckNamedValue(v *driver.NamedValue) error {
	value, err := driver.DefaultParameterConverter.ConvertValue(v.Value)
	if err != nil {
		return err
	}
	if text, ok := value.(string); ok {
		value = postgresText(text)
	}
	v.Value = value
	return nil
}

// postgresText replaces invalid UTF-8 and zero bytes by U+FFFD.
func postgresText(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}
