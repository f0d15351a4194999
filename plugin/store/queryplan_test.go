package store_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
	"slipway/plugin/store/storetest"
)

// smallTables have few rows however long and however much an installation is used.
func smallTables() []string {
	return []string{
		"counters", "extension_secrets", "first_tokens", "instance",
		"leases",    // one for each gateway, and one for the leader
		"providers", // each is configured
	}
}

// workIndexes hold only rows of unfinished work, so that reading one whole is no scan of its table.
func workIndexes() []string {
	return []string{"attempts_active", "deliveries_unplanned", "reports_refused"}
}

// A planException is a cost that a statement may have although its table grows.
type planException struct {
	text  string // part of the statement, with single spaces
	costs []string
	why   string
}

// A planner returns the costs of a statement that grow with its tables: "scan" with a table, and "sort".
type planner func(t *testing.T, text string, args []any) []string

// planners return the planners of both databases, with the newest schema after a change.
func planners() map[string]func(t *testing.T, change string) planner {
	return map[string]func(t *testing.T, change string) planner{
		"SQLite": func(t *testing.T, change string) planner {
			s := storetest.Open(t)
			if change != "" {
				must.Succeed(t, store.ExecWithoutTransaction(t, s, change))
				store.CloseReaders(s) // EXPLAIN does not look whether the schema has changed
			}
			return planOfSQLite(s)
		},
		"PostgreSQL": planOfPostgres,
	}
}

// checkPlans checks the plan of each statement on both databases, which have the same texts. No statement may read
// all rows of a table that grows, or sort rows. Both would become slow with the age or the size of an installation.
func checkPlans(t *testing.T, recorded *store.SQLRecorder) {
	needed := map[string]bool{} // exceptions
	checked := 0
	for name, open := range planners() {
		t.Run(name, func(t *testing.T) {
			plan := open(t, "")
			for _, text := range recorded.Texts() {
				costs := unexpected(oneLine(text), plan(t, text, recorded.Args(text)), needed)
				if len(costs) > 0 {
					t.Errorf("statement that becomes slow (%s): %s", strings.Join(costs, ", "), oneLine(text))
				}
			}
			checked++
		})
	}
	for _, e := range planExceptions() {
		if checked == len(planners()) && !needed[e.text] {
			t.Errorf("remove the exception %q (%s): no statement needs it", e.text, e.why)
		}
	}
}

// unexpected returns the costs without those of the exceptions, which it marks as needed.
func unexpected(text string, costs []string, needed map[string]bool) []string {
	for _, e := range planExceptions() {
		if !strings.Contains(text, e.text) {
			continue
		}
		left := slices.DeleteFunc(slices.Clone(costs), func(cost string) bool { return slices.Contains(e.costs, cost) })
		needed[e.text] = needed[e.text] || len(left) < len(costs)
		costs = left
	}
	return costs
}

func TestThePlanWithoutAnIndexIsSlow(t *testing.T) {
	const list = `SELECT number FROM builds WHERE state = $1 ORDER BY number DESC LIMIT $2`
	args := []any{"succeeded", int64(50)}
	for name, open := range planners() {
		t.Run(name, func(t *testing.T) {
			if got := open(t, "")(t, list, args); len(got) > 0 {
				t.Errorf("costs: got %v, want none", got)
			}
			if got := open(t, `DROP INDEX builds_state_number`)(t, list, args); len(got) == 0 {
				t.Error("costs without the index: got none, want a scan or a sort")
			}
		})
	}
}

// oneLine returns a text with single spaces.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// planOfSQLite returns the costs of statements according to EXPLAIN QUERY PLAN. The store never runs ANALYZE,
// so that SQLite chooses the same plans whatever rows there are.
//
// Source: https://www.sqlite.org/eqp.html
func planOfSQLite(s *store.Store) planner {
	read := regexp.MustCompile(`^(SCAN|SEARCH) (\w+)(?: USING (AUTOMATIC )?.*INDEX (\w+))?`)
	return func(t *testing.T, text string, args []any) (costs []string) {
		tables := tablesByAlias(text)
		for _, step := range store.Explain(t, s, text, args) {
			if strings.HasPrefix(step, "USE TEMP B-TREE") {
				costs = append(costs, "sort")
			}
			m := read.FindStringSubmatch(step)
			if m == nil || m[1] == "SEARCH" && m[3] == "" || slices.Contains(workIndexes(), m[4]) {
				continue
			}
			for _, table := range tables[m[2]] {
				inStatement := strings.Contains(text, "WITH RECURSIVE "+table)
				if !inStatement && !slices.Contains(smallTables(), table) {
					costs = append(costs, "scan "+table)
				}
			}
		}
		return slices.Compact(slices.Sorted(slices.Values(costs)))
	}
}

// tablesByAlias returns the tables of a statement by the names that it uses for them.
func tablesByAlias(text string) map[string][]string {
	named := regexp.MustCompile(`(?:FROM|JOIN|INTO|UPDATE) ([a-z_]+)(?: ([a-z]\w*))?`)
	all := map[string][]string{}
	for _, m := range named.FindAllStringSubmatch(oneLine(text), -1) {
		alias := m[2]
		if alias == "" {
			alias = m[1]
		}
		all[alias] = append(all[alias], m[1])
	}
	return all
}

// listWithAllFilters calls the methods whose statements depend on their arguments.
func listWithAllFilters(t *testing.T, s *store.Store) {
	builds := []autobuild.BuildFilter{{AutomatedBuildID: "a"}, {DeliveryID: "d"}}
	active := []autobuild.State{autobuild.Queued, autobuild.Starting, autobuild.Running}
	for _, states := range [][]autobuild.State{nil, {autobuild.Succeeded}, active} {
		builds = append(builds, autobuild.BuildFilter{States: states}, autobuild.BuildFilter{States: states, Before: 1})
	}
	deliveries := []autobuild.DeliveryFilter{{}, {Before: "d"}, {HookID: "h"}, {HookID: "h", Before: "d"}}
	must.Succeed(t, store.ExecWithoutTransaction(t, s, `INSERT INTO users (id, provider_id, remote_id, name, role,
		created_at) VALUES ('many', 'cloud', 'many', 'many', 'none', 0)`))
	must.Succeed(t, store.ExecWithoutTransaction(t, s, `INSERT INTO permissions (user_id, provider_id, repository_id,
		permission, checked_at) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 101)
		SELECT 'many', 'cloud', i, 'read', 9999999999999 FROM n`))
	for _, viewer := range []autobuild.Viewer{{Administrator: true}, {UserID: "few"}, {UserID: "many"}} {
		for _, f := range builds {
			_, err := s.As(viewer).Builds(t.Context(), f)
			must.Succeed(t, err)
		}
		for _, f := range deliveries {
			_, err := s.As(viewer).Deliveries(t.Context(), f)
			must.Succeed(t, err)
		}
	}
}
