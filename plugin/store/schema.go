package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"
)

// postgresDenied is the code of insufficient_privilege.
const postgresDenied = "42501"

// columnsOf returns the columns of the database, by table.
func (d *database) columnsOf(ctx context.Context, q querier) (map[string][]string, error) {
	query := `SELECT m.name, c.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c
		WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'`
	if d.dialect == goose.DialectPostgres {
		query = `SELECT c.table_name, c.column_name FROM information_schema.columns c
			JOIN information_schema.tables t USING (table_schema, table_name)
			WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE'`
	}
	all, err := queryAll(ctx, q, scanPair, query)
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", mapError(err))
	}
	columns := map[string][]string{}
	for _, one := range all {
		columns[one[0]] = append(columns[one[0]], one[1])
	}
	return columns, nil
}

func scanPair(r scanner) (pair [2]string, err error) {
	err = r.Scan(&pair[0], &pair[1])
	return pair, err
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// checkForeignKeys looks for rows whose parent is missing.
func (d *database) checkForeignKeys(ctx context.Context, q querier) (string, error) {
	query := `SELECT "table", parent FROM pragma_foreign_key_check`
	if d.dialect == goose.DialectPostgres {
		var err error
		if query, err = postgresOrphans(ctx, q); err != nil || query == "" {
			return "no foreign keys", err
		}
	}
	orphans, err := queryAll(ctx, q, scanPair, query+fmt.Sprintf(` LIMIT %d`, maxProblems))
	if err != nil {
		return "", markDamage(err)
	}
	var problems []string
	for _, o := range orphans {
		problems = append(problems, fmt.Sprintf("a row of %s has no row in %s", o[0], o[1]))
	}
	if len(problems) > 0 {
		return "", fmt.Errorf("%s: %w", strings.Join(problems, "; "), ErrDamaged)
	}
	return "each row has the rows that it refers to", nil
}

// postgresOrphans returns a query for the rows whose parent is missing, as PostgreSQL's own check
// of a new constraint has it. Empty = the schema has no foreign keys.
func postgresOrphans(ctx context.Context, q querier) (string, error) {
	queries, err := queryAll(ctx, q, scanString, `SELECT format(
		'SELECT %L, %L FROM %s c LEFT JOIN %s p ON %s WHERE p.%I IS NULL AND %s',
		k.conrelid::regclass, k.confrelid::regclass, k.conrelid::regclass, k.confrelid::regclass,
		string_agg(format('c.%I = p.%I', c.attname, p.attname), ' AND '), min(p.attname),
		string_agg(format('c.%I IS NOT NULL', c.attname), ' AND '))
		FROM pg_constraint k
		CROSS JOIN LATERAL unnest(k.conkey, k.confkey) AS u (child, parent)
		JOIN pg_attribute c ON c.attrelid = k.conrelid AND c.attnum = u.child
		JOIN pg_attribute p ON p.attrelid = k.confrelid AND p.attnum = u.parent
		WHERE k.contype = 'f' AND k.connamespace = current_schema()::regnamespace
		GROUP BY k.oid, k.conrelid, k.confrelid`)
	if err != nil {
		return "", fmt.Errorf("list foreign keys: %w", err)
	}
	return strings.Join(queries, " UNION ALL "), nil
}

// checkPostgres checks tables and indexes with the extension amcheck, if it is installed and the
// gateway's user may use it. Source: https://www.postgresql.org/docs/current/amcheck.html
func checkPostgres(ctx context.Context, q querier) (string, error) {
	checksums, err := queryAll(ctx, q, scanString, `SHOW data_checksums`)
	if err != nil {
		return "", err
	}
	note := "data checksums of the server are " + strings.Join(checksums, "")
	schemas, err := queryAll(ctx, q, scanString, `SELECT quote_ident(n.nspname) FROM pg_extension e
		JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'amcheck'`)
	if err != nil {
		return "", err
	}
	if len(schemas) == 0 {
		return note + "; indexes not compared: run CREATE EXTENSION amcheck in the database", nil
	}
	compared, err := amcheck(ctx, q, schemas[0])
	var denied *pgconn.PgError
	if errors.As(err, &denied) && denied.Code == postgresDenied {
		return note + "; indexes not compared: grant the gateway's user EXECUTE on the functions of amcheck", nil
	}
	if err != nil {
		return "", markDamage(err)
	}
	return note + compared, nil
}

// amcheck runs the functions of the extension in a schema.
func amcheck(ctx context.Context, q querier, schema string) (string, error) {
	problems, err := queryAll(ctx, q, scanString, fmt.Sprintf(`SELECT c.relname || ': ' || v.msg
		FROM pg_class c CROSS JOIN LATERAL %s.verify_heapam(c.oid) v
		WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace LIMIT %d`,
		schema, maxProblems))
	if err != nil {
		return "", err
	}
	if len(problems) > 0 {
		return "", fmt.Errorf("%s: %w", strings.Join(problems, "; "), ErrDamaged)
	}
	checked, err := queryAll(ctx, q, scanString, fmt.Sprintf(`SELECT c.relname
		FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid JOIN pg_am a ON a.oid = c.relam
		CROSS JOIN LATERAL %s.bt_index_check(c.oid, true) done
		WHERE a.amname = 'btree' AND i.indisvalid AND c.relnamespace = current_schema()::regnamespace`, schema))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("; amcheck compared %d indexes with their tables", len(checked)), nil
}

// checkSchemaText compares the tables and indexes of a SQLite file with those that the migrations up to a
// version create.
func checkSchemaText(ctx context.Context, q querier, version int64) (err error) {
	fresh := &database{dialect: goose.DialectSQLite3}
	if fresh.write, err = sql.Open("sqlite", ":memory:"); err != nil {
		return err
	}
	defer func() { _ = fresh.close() }() // nothing is stored
	fresh.write.SetMaxOpenConns(1)
	p, err := fresh.migrations()
	if err != nil {
		return err
	}
	if _, err := p.UpTo(ctx, version); err != nil {
		return fmt.Errorf("make the schema of version %d: %w", version, err)
	}
	want, err := schemaText(ctx, fresh.write)
	if err != nil {
		return err
	}
	got, err := schemaText(ctx, q)
	if err != nil {
		return markDamage(err)
	}
	for _, name := range sortedKeys(want) {
		if got[name] != want[name] {
			return fmt.Errorf("the definition of %s is not that of schema version %d: %w", name, version, ErrDamaged)
		}
	}
	return nil
}

// schemaText returns the statements that create the tables and indexes, without their comments.
func schemaText(ctx context.Context, q querier) (map[string]string, error) {
	all, err := queryAll(ctx, q, scanPair, `SELECT type || ' ' || name, sql FROM sqlite_schema WHERE sql IS NOT NULL`)
	text := map[string]string{}
	comment := regexp.MustCompile(`--[^\n]*`)
	for _, one := range all {
		text[one[0]] = strings.Join(strings.Fields(comment.ReplaceAllString(one[1], "")), " ")
	}
	return text, err
}
