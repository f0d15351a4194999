package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/pressly/goose/v3"
	"github.com/sirupsen/logrus"
)

// checkDurability returns an error if a commit of this database does not wait for its disk, although the connections
// request it. A connection pooler between gateway and PostgreSQL may drop the request. It only warns if the server
// itself does not wait (fsync=off), because test servers are often configured so.
func (d *database) checkDurability(ctx context.Context, log logrus.FieldLogger) error {
	if d.dialect == goose.DialectSQLite3 {
		return d.checkSQLite(ctx)
	}
	var commit, sync, fullPages string
	err := d.write.QueryRowContext(ctx, `SELECT current_setting('synchronous_commit'), current_setting('fsync'),
		current_setting('full_page_writes')`).Scan(&commit, &sync, &fullPages)
	if err != nil {
		return fmt.Errorf("read how the server writes to its disk: %w", err)
	}
	if commit == "off" {
		return errors.New("synchronous_commit is off, so a power loss would lose acknowledged pushes: " +
			"if a pooler is between the gateway and PostgreSQL, let it pass synchronous_commit, " +
			"or run ALTER ROLE ... SET synchronous_commit = on for the gateway's role")
	}
	for name, value := range map[string]string{"fsync": sync, "full_page_writes": fullPages} {
		if value != "on" {
			log.WithField(name, value).Warnf(
				"a power loss of the PostgreSQL server may lose or damage the database: set %s = on in postgresql.conf", name)
		}
	}
	return nil
}

// fullSync is the value of SQLite's PRAGMA synchronous for FULL. EXTRA is larger.
// https://www.sqlite.org/pragma.html#pragma_synchronous
const fullSync = 2

// checkSQLite checks that SQLite accepted the settings of the connection that writes. SQLite reports no error for a
// pragma that it does not know.
func (d *database) checkSQLite(ctx context.Context) error {
	var level int
	if err := d.write.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&level); err != nil {
		return fmt.Errorf("read how SQLite writes to the disk: %w", err)
	}
	if level < fullSync {
		return fmt.Errorf("SQLite does not wait for the disk: synchronous is %d, want %d", level, fullSync)
	}
	return nil
}
