package store_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"slipway/config/must"
	"slipway/plugin/store/storetest"
)

// assumedRows is the number of rows that the planner of PostgreSQL assumes in each table that grows.
const assumedRows = 1_000_000

// planOfPostgres returns the costs of statements according to EXPLAIN. PostgreSQL chooses plans by the rows of
// the tables. So the test writes one row to each table and then claims in the catalog that a page of the table
// has a million: the planner multiplies that by the pages of the file. This takes milliseconds, and, unlike
// the sample of ANALYZE, always gives the same plans. The arguments stay unknown (a generic plan), except
// limits, so that no plan depends on the value of a test.
//
// Source: estimate_rel_size in src/backend/optimizer/util/plancat.c
func planOfPostgres(t *testing.T, change string) planner {
	db, err := sql.Open("pgx", storetest.NewestPostgres(t).Reveal())
	must.Succeed(t, err)
	t.Cleanup(func() { _ = db.Close() })
	conn, err := db.Conn(t.Context())
	must.Succeed(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	fillCatalog(t, conn)
	if change != "" {
		execConn(t, conn, change)
	}
	for _, setting := range []string{
		`plan_cache_mode = force_generic_plan`, `max_parallel_workers_per_gather = 0`, `jit = off`,
	} {
		execConn(t, conn, `SET `+setting)
	}
	return func(t *testing.T, text string, args []any) []string {
		return explainPostgres(t, conn, text, args)
	}
}

// fillCatalog gives each table a row, and assumedRows in the catalog.
func fillCatalog(t *testing.T, conn *sql.Conn) {
	t.Helper()
	var tables []byte
	must.Succeed(t, conn.QueryRowContext(t.Context(), `SELECT json_object_agg(name, texts) FROM (
		SELECT table_name AS name, string_agg(CASE data_type
			WHEN 'text' THEN quote_literal('a') WHEN 'bigint' THEN '1' WHEN 'boolean' THEN 'TRUE'
			WHEN 'bytea' THEN quote_literal('') END, ', ' ORDER BY ordinal_position) AS texts
		FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE 'goose%'
		GROUP BY table_name) t`).Scan(&tables))
	values := map[string]string{}
	must.Succeed(t, json.Unmarshal(tables, &values))
	execConn(t, conn, `SET session_replication_role = replica`) // no foreign keys
	for table, row := range values {
		execConn(t, conn, `INSERT INTO `+table+` VALUES (`+row+`) ON CONFLICT DO NOTHING`)
		if !slices.Contains(smallTables(), table) {
			execConn(t, conn, fmt.Sprintf(`UPDATE pg_class SET relpages = 1, reltuples = %d WHERE oid = '%s'::regclass
				OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = '%[2]s'::regclass)`, assumedRows, table))
		}
	}
	execConn(t, conn, `SET session_replication_role = DEFAULT`)
}

func execConn(t *testing.T, conn *sql.Conn, text string) {
	t.Helper()
	if _, err := conn.ExecContext(context.WithoutCancel(t.Context()), text); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

func explainPostgres(t *testing.T, conn *sql.Conn, text string, args []any) []string {
	t.Helper()
	text, parameters := withLimit(text, args)
	execConn(t, conn, `PREPARE explained AS `+text)
	defer execConn(t, conn, `DEALLOCATE explained`)
	execute := `EXPLAIN (FORMAT JSON) EXECUTE explained`
	if parameters > 0 {
		execute += `(NULL` + strings.Repeat(`, NULL`, parameters-1) + `)`
	}
	var plan []byte
	if err := conn.QueryRowContext(t.Context(), execute).Scan(&plan); err != nil {
		t.Fatalf("explain %s: %v", text, err)
	}
	var explained []struct{ Plan planNode }
	must.Succeed(t, json.Unmarshal(plan, &explained))
	return slices.Compact(slices.Sorted(slices.Values(explained[0].Plan.costs(""))))
}

// withLimit writes the limit of rows into the text, and returns the number of the other parameters. The planner
// assumes a tenth of the rows for an unknown limit.
func withLimit(text string, args []any) (string, int) {
	count := len(args)
	for number := len(args); number > 0; number-- {
		limit := regexp.MustCompile(`LIMIT \$` + strconv.Itoa(number) + `\b`)
		if !limit.MatchString(text) {
			continue
		}
		text = limit.ReplaceAllLiteralString(text, fmt.Sprintf("LIMIT %v", args[number-1]))
		for later := number + 1; later <= count; later++ {
			text = regexp.MustCompile(`\$`+strconv.Itoa(later)+`\b`).ReplaceAllLiteralString(text,
				"$"+strconv.Itoa(later-1))
		}
		count--
	}
	return text, count
}

// A planNode is a step of a plan of PostgreSQL.
type planNode struct {
	Type      string     `json:"Node Type"`
	Table     string     `json:"Relation Name"`
	Index     string     `json:"Index Name"`
	Condition string     `json:"Index Cond"`
	Plans     []planNode `json:"Plans"`
}

func (n planNode) costs(table string) (costs []string) {
	if n.Table != "" {
		table = n.Table
	}
	switch n.Type {
	case "Sort", "Incremental Sort":
		costs = append(costs, "sort")
	case "Seq Scan":
		if !slices.Contains(smallTables(), table) {
			costs = append(costs, "scan "+table)
		}
	case "Index Scan", "Index Only Scan", "Bitmap Index Scan":
		if n.Condition == "" && !slices.Contains(workIndexes(), n.Index) && !slices.Contains(smallTables(), table) {
			costs = append(costs, "scan "+table)
		}
	}
	for _, below := range n.Plans {
		costs = append(costs, below.costs(table)...)
	}
	return costs
}
