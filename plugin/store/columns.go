package store

import (
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"

	"slipway/plugin/autobuild"
)

// newID returns 128 random bits as 26 lower-case letters and digits.
func newID() string {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // never fails
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(raw))
}

// ms converts a time to a column: Unix milliseconds, or 0 for the zero time.
func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

type timeColumn struct{ t *time.Time }

// at returns a scanner for a column that ms wrote.
func at(t *time.Time) sql.Scanner { return timeColumn{t} }

func (c timeColumn) Scan(src any) error {
	var n sql.NullInt64
	if err := n.Scan(src); err != nil {
		return err
	}
	*c.t = time.Time{}
	if n.Int64 != 0 {
		*c.t = time.UnixMilli(n.Int64).UTC()
	}
	return nil
}

type jsonColumn struct{ v any }

// asJSON stores a value as JSON in a TEXT column.
func asJSON(v any) driver.Valuer { return jsonColumn{v} }

// fromJSON scans a column that asJSON wrote into a pointer.
func fromJSON(v any) sql.Scanner { return jsonColumn{v} }

func (c jsonColumn) Value() (driver.Value, error) {
	text, err := json.Marshal(c.v)
	return string(text), err
}

func (c jsonColumn) Scan(src any) error {
	var text sql.NullString
	if err := text.Scan(src); err != nil {
		return err
	}
	return json.Unmarshal([]byte(text.String), c.v)
}

// scanner is a *sql.Row or *sql.Rows.
type scanner interface{ Scan(dest ...any) error }

// SQLite's extended result codes, see https://www.sqlite.org/rescode.html, and PostgreSQL's,
// see https://www.postgresql.org/docs/current/errcodes-appendix.html.
const (
	// SQLite's extended result codes are listed at https://www.sqlite.org/rescode.html, and
	// PostgreSQL's at https://www.postgresql.org/docs/current/errcodes-appendix.html.
	sqliteUnique     = 2067
	sqlitePrimaryKey = 1555
	postgresUnique   = "23505"
)

// mapError converts sql.ErrNoRows to autobuild.ErrNotFound, and a violated unique constraint to
// autobuild.ErrConflict. It marks damage (markDamage), and returns other errors unchanged.
func mapError(err error) error {
	var sqliteError *sqlite.Error
	var postgresError *pgconn.PgError
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return autobuild.ErrNotFound
	case errors.As(err, &sqliteError) && (sqliteError.Code() == sqliteUnique || sqliteError.Code() == sqlitePrimaryKey):
		return fmt.Errorf("%w: %w", autobuild.ErrConflict, err)
	case errors.As(err, &postgresError) && postgresError.Code == postgresUnique:
		return fmt.Errorf("%w: %w", autobuild.ErrConflict, err)
	}
	return markDamage(err)
}

// conditions collects the terms and arguments of a WHERE clause.
type conditions struct {
	terms []string
	args  []any
}

// arg adds an argument and returns its placeholder, for example "$2".
func (c *conditions) arg(v any) string {
	c.args = append(c.args, v)
	return fmt.Sprintf("$%d", len(c.args))
}

// where returns the WHERE clause, or "" without terms.
func (c *conditions) where() string {
	if len(c.terms) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(c.terms, " AND ")
}
