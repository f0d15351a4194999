package store

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
)

// ErrDamaged means that the content of the database is damaged.
var ErrDamaged = errors.New(
	"the database is damaged: restore a backup, see docs/operations.md#the-database-is-damaged",
)

// Result codes of SQLite. Source: https://www.sqlite.org/rescode.html
const (
	sqliteCorrupt   = 11       // also the low byte of SQLITE_CORRUPT_INDEX and others
	sqliteNotADB    = 26       // the file is no database
	sqliteShortRead = 522      // SQLITE_IOERR_SHORT_READ: the file ends too early
	sqlitePrimary   = 1<<8 - 1 // mask of the primary result code
)

// Error codes of PostgreSQL. Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
const (
	postgresDataCorrupted  = "XX001"
	postgresIndexCorrupted = "XX002"
)

// markDamage wraps an error of the database that means damage with ErrDamaged. It returns other
// errors unchanged.
func markDamage(err error) error {
	var sqliteError *sqlite.Error
	var postgresError *pgconn.PgError
	damaged := false
	switch {
	case errors.Is(err, ErrDamaged):
	case errors.As(err, &sqliteError):
		code := sqliteError.Code()
		damaged = code&sqlitePrimary == sqliteCorrupt || code == sqliteNotADB || code == sqliteShortRead
	case errors.As(err, &postgresError):
		damaged = postgresError.Code == postgresDataCorrupted || postgresError.Code == postgresIndexCorrupted
	}
	if damaged {
		return fmt.Errorf("%w: %w", err, ErrDamaged)
	}
	return err
}
