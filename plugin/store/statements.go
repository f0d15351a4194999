package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
)

// maxStatements is the largest number of compiled statements that a connection keeps. The texts of lists
// depend on their filters; all others together are fewer.
const maxStatements = 256

// A sqliteStmt has the methods that a connection uses of a compiled statement.
type sqliteStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// A sqliteRows has the methods that database/sql uses of rows of SQLite.
//
//nolint:interfacebloat // the wrapper of rows must have all of them
type sqliteRows interface {
	driver.Rows
	driver.RowsColumnTypeDatabaseTypeName
	driver.RowsColumnTypeLength
	driver.RowsColumnTypeNullable
	driver.RowsColumnTypePrecisionScale
	driver.RowsColumnTypeScanType
}

// statements are the compiled statements of one connection by their texts. The driver compiles a text anew for
// each call, which takes longer than most of our statements. It is not safe for concurrent use, as a connection
// is not.
type statements struct {
	conn driver.ConnPrepareContext
	kept map[string]*statement
}

type statement struct {
	sqliteStmt
	busy bool // its rows are open
}

// take returns the compiled statement of a text. It returns nil if the text is not to be kept, or if the
// rows of the same statement are open.
func (s *statements) take(ctx context.Context, text string) (*statement, error) {
	if known := s.kept[text]; known != nil {
		if known.busy {
			return nil, nil
		}
		return known, nil
	}
	if !isKept(text) {
		return nil, nil
	}
	if len(s.kept) >= maxStatements {
		if err := s.drop(); err != nil {
			return nil, err
		}
	}
	prepared, err := s.conn.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	compiled, ok := prepared.(sqliteStmt)
	if !ok {
		return nil, errors.Join(fmt.Errorf("unexpected statement type %T", prepared), prepared.Close())
	}
	if s.kept == nil {
		s.kept = map[string]*statement{}
	}
	s.kept[text] = &statement{sqliteStmt: compiled}
	return s.kept[text], nil
}

// isKept reports whether a text is a statement that the store repeats. Migrations and pragmas are not.
func isKept(text string) bool {
	words := strings.Fields(text)
	if len(words) == 0 {
		return false
	}
	switch words[0] {
	case "SELECT", "INSERT", "UPDATE", "DELETE", "WITH":
		return true
	}
	return false
}

// drop closes all statements without open rows.
func (s *statements) drop() error {
	var errs []error
	for text, one := range s.kept {
		if !one.busy {
			errs = append(errs, one.Close())
			delete(s.kept, text)
		}
	}
	return errors.Join(errs...)
}

// query returns the rows of a statement. It is busy until they are closed.
func (s *statement) query(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := s.QueryContext(ctx, args)
	if err != nil {
		return nil, err
	}
	known, ok := rows.(sqliteRows)
	if !ok {
		return nil, errors.Join(fmt.Errorf("unexpected type of rows %T", rows), rows.Close())
	}
	s.busy = true
	return statementRows{known, s}, nil
}

type statementRows struct {
	sqliteRows
	statement *statement
}

// Close resets the statement.
func (r statementRows) Close() error {
	r.statement.busy = false
	return r.sqliteRows.Close()
}
