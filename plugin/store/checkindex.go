package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
)

// SQLite has no checksums: a changed byte in a text or a number goes unnoticed. So most tables have a
// check index, which holds all columns a second time. `PRAGMA integrity_check` compares the two. The
// server of PostgreSQL has checksums of its own, so it needs none.

// unindexedTables returns the tables without a check index. Their rows change with each delivery or every few
// seconds, and each change of an index writes a page to the log.
//
//   - tasks: the index of due tasks (tasks_due) holds all columns that decide what runs and when.
//   - counters: CheckRows finds one that is behind. One that is ahead skips numbers.
//   - leases: the holder writes its lease again every few seconds, and a wrong holder's lease expires.
func unindexedTables() []string { return []string{"counters", "leases", "tasks"} }

// checkIndexPrefix begins the names of the check indexes; the name of the table follows.
const checkIndexPrefix = "check_"

// uncheckedColumns returns the columns without a second copy, by table. They are large. The bodies of
// deliveries have a checksum (zstd), and SQLite installations keep their logs in files.
func uncheckedColumns() map[string][]string {
	return map[string][]string{"deliveries": {"body"}, "log_chunks": {"data"}}
}

// createCheckIndexes creates the check indexes that are missing or lack a column.
func (d *database) createCheckIndexes(ctx context.Context) error {
	return d.inTx(ctx, func(tx *sql.Tx) error {
		tables, err := d.columnsOf(ctx, tx)
		if err != nil {
			return err
		}
		existing, err := indexes(ctx, tx)
		if err != nil {
			return err
		}
		for _, table := range sortedKeys(tables) {
			if slices.Contains(unindexedTables(), table) {
				continue
			}
			name := checkIndexPrefix + table
			create := createCheckIndex(table, tables[table])
			if existing[name] == create {
				continue
			}
			if _, err := tx.ExecContext(ctx, `DROP INDEX IF EXISTS `+name); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, create); err != nil {
				return err
			}
		}
		return nil
	})
}

// createCheckIndex returns the statement that creates the check index of a table. Its first column is an
// expression, so that SQLite uses the index for no query.
func createCheckIndex(table string, columns []string) string {
	unchecked := uncheckedColumns()[table]
	columns = slices.DeleteFunc(slices.Clone(columns), func(c string) bool { return slices.Contains(unchecked, c) })
	return fmt.Sprintf(`CREATE INDEX %s%s ON %s (+%s)`, checkIndexPrefix, table, table, strings.Join(columns, ", "))
}

// dropCheckIndexes drops all check indexes, so that a migration can change the columns.
func (d *database) dropCheckIndexes(ctx context.Context) error {
	return d.inTx(ctx, func(tx *sql.Tx) error {
		existing, err := indexes(ctx, tx)
		if err != nil {
			return err
		}
		for _, name := range sortedKeys(existing) {
			if !strings.HasPrefix(name, checkIndexPrefix) {
				continue
			}
			if _, err := tx.ExecContext(ctx, `DROP INDEX `+name); err != nil {
				return err
			}
		}
		return nil
	})
}

// inTx runs f in one transaction.
func (d *database) inTx(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := d.begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // has no effect after a commit
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// indexes returns the statements that create the indexes of a SQLite file, by name.
func indexes(ctx context.Context, q querier) (map[string]string, error) {
	all, err := queryAll(
		ctx,
		q,
		scanPair,
		`SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL`,
	)
	byName := map[string]string{}
	for _, one := range all {
		byName[one[0]] = one[1]
	}
	return byName, err
}
