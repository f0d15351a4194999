package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"modernc.org/sqlite"
)

// sqliteIOError is the primary result code of all I/O errors, see https://www.sqlite.org/rescode.html.
const sqliteIOError = 10

// A checkingConnector opens connections to a SQLite file that a pool drops after a failed read, write or sync
// of its files.
//
// If fsync fails, Linux may drop the unwritten pages, and the next fsync of the same descriptor reports
// success. So the descriptor must not be used again: the next transaction opens the files anew, and
// starts after the last commit that was synced.
//
// Source: https://www.usenix.org/conference/atc20/presentation/rebello
type checkingConnector struct{ driver.Connector }

// Connect opens a connection.
func (c checkingConnector) Connect(ctx context.Context) (driver.Conn, error) {
	inner, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	connection, ok := inner.(sqliteConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("unexpected connection type %T", inner), inner.Close())
	}
	return &checkedConn{sqliteConn: connection, statements: statements{conn: connection}}, nil
}

// A sqliteConn has the methods that database/sql uses of a connection to SQLite.
//
//nolint:interfacebloat // the wrapper of a connection must have all of them
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.Pinger
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

// A checkedConn is not valid after an I/O error. It keeps compiled statements. database/sql never calls it
// concurrently.
type checkedConn struct {
	sqliteConn
	statements statements
	failed     bool // a read, write or sync failed
}

// Close closes the statements and the connection.
func (c *checkedConn) Close() error { return errors.Join(c.statements.drop(), c.sqliteConn.Close()) }

// check records an I/O error and returns err.
func (c *checkedConn) check(err error) error {
	if isIOError(err) {
		c.failed = true
	}
	return err
}

// isIOError reports whether the system failed to read, write or sync a file. A full disk is none: SQLite
// detects it before the sync.
func isIOError(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == sqliteIOError
}

// IsValid reports whether the pool may keep the connection.
func (c *checkedConn) IsValid() bool { return !c.failed && c.sqliteConn.IsValid() }

// BeginTx starts a transaction.
func (c *checkedConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	tx, err := c.sqliteConn.BeginTx(ctx, o)
	if err != nil {
		return nil, c.check(err)
	}
	return checkedTx{tx, c}, nil
}

// ExecContext runs a statement.
func (c *checkedConn) ExecContext(
	ctx context.Context, query string, args []driver.NamedValue,
) (driver.Result, error) {
	statement, err := c.statements.take(ctx, query)
	if err != nil {
		return nil, c.check(err)
	}
	if statement == nil {
		result, err := c.sqliteConn.ExecContext(ctx, query, args)
		return result, c.check(err)
	}
	result, err := statement.ExecContext(ctx, args)
	return result, c.check(err)
}

// QueryContext runs a query. SQLite writes the changes of an INSERT, UPDATE or DELETE before the first row.
func (c *checkedConn) QueryContext(
	ctx context.Context, query string, args []driver.NamedValue,
) (driver.Rows, error) {
	statement, err := c.statements.take(ctx, query)
	if err != nil {
		return nil, c.check(err)
	}
	if statement == nil {
		rows, err := c.sqliteConn.QueryContext(ctx, query, args)
		return rows, c.check(err)
	}
	rows, err := statement.query(ctx, args)
	return rows, c.check(err)
}

type checkedTx struct {
	driver.Tx
	conn *checkedConn
}

// Commit syncs the transaction to the disk.
func (t checkedTx) Commit() error { return t.conn.check(t.Tx.Commit()) }

// Rollback ends the transaction without its changes.
func (t checkedTx) Rollback() error { return t.conn.check(t.Tx.Rollback()) }
