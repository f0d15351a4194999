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
	// writers bounds the connections that write. One at a time has the turn; the others renew
	// leases and append to logs, or wait in the order in which they came.
	writers = 4
	// writersTurn is the first half of the advisory lock's key, "slip"; the second is the schema's.
	writersLock    = 0x736c6970
	connectTimeout = 5 * time.Second
	// deadAfter is how long a server may leave unacknowledged what was sent to it. A machine that
	// vanished says nothing: without a bound, whoever waits for its answer waits for a quarter of
	// an hour, though the database answers elsewhere by then.
	unackedTimeout = 20 * time.Second
)

// openPostgres connects to PostgreSQL, where several gateways may share a database. Every
// commit waits for the server's disk, whatever its default.
func openPostgres(address secret.Secret) (*database, error) {
	d := &database{dialect: goose.DialectPostgres}
	c, err := postgresConfig(address)
	if err != nil {
		return d, err
	}
	d.write = postgresPool(*c, writers)
	d.read = postgresPool(*c, readers)
	d.turn = func(ctx context.Context, tx *sql.Tx) error { return waitForWriters(ctx, tx, &d.clock) }
	return d, nil
}

func postgresConfig(address secret.Secret) (*pgx.ConnConfig, error) {
	c, err := pgx.ParseConfig(address.Reveal())
	if err != nil {
		return nil, fmt.Errorf(
			"the address is not understood, give one like postgres://slipway@db.example.com/slipway?sslmode=verify-full: %w",
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
		// Less than the 10 s after which Bitbucket gives a webhook up.
		"lock_timeout":      "8s",
		"statement_timeout": "30s",
		// A gateway that stands still with the turn must not hold up the others.
		"idle_in_transaction_session_timeout": "10s",
		"application_name":                    "slipway",
	} {
		c.RuntimeParams[name] = value
	}
	return c, nil
}

// dialer makes connections that break soon after their other end is gone: TCP_USER_TIMEOUT
// (tcp(7)) where something was sent, keep-alive where an answer is awaited.
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

// takeTurn waits until no other gateway's transaction has the turn, which the end of ours
// gives on, and reads the database's clock then: the columns are computed in their order.
func waitForWriters(ctx context.Context, tx *sql.Tx, c *clock) error {
	var void any
	var now int64
	err := tx.QueryRowContext(ctx, `SELECT pg_advisory_xact_lock($1::int4, hashtext(current_schema())),
		(extract(epoch FROM clock_timestamp()) * 1000)::int8`,
		writersLock).
		Scan(&void, &now)
	if err != nil {
		return fmt.Errorf("wait for the other writers: %w", err)
	}
	c.set(time.UnixMilli(now))
	return nil
}

// A connector makes connections that take whatever text there is: a commit message or a
// header may hold what PostgreSQL refuses in TEXT.
type textSafeConnector struct{ driver.Connector }

func (c textSafeConnector) Connect(ctx context.Context) (driver.Conn, error) {
	inner, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	connection, ok := inner.(*stdlib.Conn)
	if !ok {
		return nil, fmt.Errorf("a connection of type %T", inner)
	}
	return textSafeConn{connection}, nil
}

type textSafeConn struct{ *stdlib.Conn }

// CheckNamedValue converts an argument as database/sql does, and replaces in text what is no
// UTF-8 or zero.
func (c textSafeConn) CheckNamedValue(v *driver.NamedValue) error {
	value, err := driver.DefaultParameterConverter.ConvertValue(v.Value)
	if err != nil {
		return err
	}
	if text, ok := value.(string); ok {
		value = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
	}
	v.Value = value
	return nil
}
