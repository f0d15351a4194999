package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

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
	settings, err := readDurability(ctx, d.write)
	if err != nil {
		return err
	}
	if err := settings.checkCommit(); err != nil {
		return err
	}
	if err := settings.checkServer(); err != nil {
		log.Warn(err.Error())
	}
	return nil
}

// CheckDurability returns an error if a power loss of the PostgreSQL server may lose or damage commits. The note is
// empty for SQLite, whose settings belong to each connection: Open checks them.
func (s *Store) CheckDurability(ctx context.Context) (note string, err error) {
	if s.dialect == goose.DialectSQLite3 {
		return "", nil
	}
	settings, err := readDurability(ctx, s.read)
	if err == nil {
		err = settings.checkCommit()
	}
	if err == nil {
		err = settings.checkServer()
	}
	return "each commit waits for the disk of the PostgreSQL server", err
}

// A durability holds the settings of PostgreSQL that decide whether commits survive a power loss.
// https://www.postgresql.org/docs/current/runtime-config-wal.html
type durability struct {
	commit    string // synchronous_commit of the connection, e.g. "on" or "off"
	sync      string // fsync of the server, "on" or "off"
	fullPages string // full_page_writes of the server, "on" or "off"
}

func readDurability(ctx context.Context, q querier) (d durability, err error) {
	err = q.QueryRowContext(ctx, `SELECT current_setting('synchronous_commit'), current_setting('fsync'),
		current_setting('full_page_writes')`).Scan(&d.commit, &d.sync, &d.fullPages)
	if err != nil {
		return d, fmt.Errorf("read how the server writes to its disk: %w", err)
	}
	return d, nil
}

// checkCommit returns an error if commits of the connection do not wait for the disk.
func (d durability) checkCommit() error {
	if d.commit != "off" {
		return nil
	}
	return errors.New("synchronous_commit is off, so a power loss would lose acknowledged pushes: " +
		"if a pooler is between the gateway and PostgreSQL, let it pass synchronous_commit, " +
		"or run ALTER ROLE ... SET synchronous_commit = on for the gateway's role")
}

// checkServer returns an error if the server does not protect its files from a power loss.
func (d durability) checkServer() error {
	var off []string
	if d.sync != "on" {
		off = append(off, "fsync = on")
	}
	if d.fullPages != "on" {
		off = append(off, "full_page_writes = on")
	}
	if off == nil {
		return nil
	}
	return fmt.Errorf(
		"a power loss of the PostgreSQL server may lose or damage the database: set %s in postgresql.conf",
		strings.Join(off, " and "),
	)
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
