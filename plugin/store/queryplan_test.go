package store

import (
	"path/filepath"
	"strings"
	"testing"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/store/seal"
)

// The newest builds of a state are read in their order, without a sort of all builds of the state.
func TestBuildsOfAStateAreNotSorted(t *testing.T) {
	dir := t.TempDir()
	sealer, err := seal.LoadOrCreate(filepath.Join(dir, "secret.key"), true)
	must.Succeed(t, err)
	s, err := Open(t.Context(), Options{Path: filepath.Join(dir, "slipway.db"), Sealer: sealer})
	must.Succeed(t, err)
	t.Cleanup(func() { must.Succeed(t, s.Close()) })
	for name, text := range map[string]string{
		"of a state": selectBuild + ` WHERE b.state IN ($1) ORDER BY b.number DESC LIMIT 50`,
		"older ones": selectBuild + ` WHERE b.state IN ($1) AND b.number < 1000 ORDER BY b.number DESC LIMIT 50`,
		"all states": selectBuild + ` ORDER BY b.number DESC LIMIT 50`,
	} {
		args := []any{autobuild.Succeeded}[:strings.Count(text, "$")]
		scan := func(r scanner) (detail string, err error) {
			var id, parent, unused int
			return detail, r.Scan(&id, &parent, &unused, &detail)
		}
		steps, err := queryAll(t.Context(), s.read, scan, `EXPLAIN QUERY PLAN `+text, args...)
		must.Succeed(t, err)
		if plan := strings.Join(steps, "; "); strings.Contains(plan, "TEMP B-TREE") {
			t.Errorf("%s: got the plan %s, want no sort", name, plan)
		}
	}
}
