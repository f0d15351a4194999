package planner_test

import (
	"bytes"
	"fmt"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
)

// F19: a push may have many changes: branches and tags that a rule matches, tags that none matches, and
// deletions. Each matched change is built once, also if the payload lists its commits incompletely.
func TestF19EveryChangeOfAPushIsBuilt(t *testing.T) {
	for _, n := range []int{1, 5, 100} {
		t.Run(fmt.Sprint(n, " changes"), func(t *testing.T) {
			w, p := newFakeCloudEnv(t)
			d := &chaosEnv{Env: w, commits: p.commits, heads: map[string]string{}, remote: p.push}
			d.reset()
			d.watch()
			before, push, want := map[string]string{}, map[string]string{}, map[string]int{}
			for i := range n {
				commit := p.commits[1+i%3]
				switch i % 5 {
				case 0, 1:
					ref := fmt.Sprintf("refs/heads/b-%d", i)
					push[ref] = commit
					want[ref+" "+commit] = 1
				case 2:
					ref := fmt.Sprintf("refs/tags/v%d", i)
					push[ref] = commit
					want[ref+" "+commit] = 1
				case 3:
					push[fmt.Sprintf("refs/tags/other-%d", i)] = commit // no rule matches it
				case 4:
					ref := fmt.Sprintf("refs/heads/old-%d", i)
					before[ref], push[ref] = p.commits[0], ""
				}
			}
			if len(before) > 0 {
				d.planPush(p.push(before)[0])
			}
			built := d.builtRefs()
			d.planPush(bytes.ReplaceAll(p.push(push)[0], []byte(`{"new":`), []byte(`{"truncated":true,"new":`)))
			got := d.builtRefs()
			maps.DeleteFunc(got, func(key string, _ int) bool { return built[key] > 0 })
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("built refs and commits (-want +got):\n%s", diff)
			}
		})
	}
}

// planPush stores and plans a delivery.
func (d *chaosEnv) planPush(body []byte) {
	d.T.Helper()
	must.Succeed(d.T, d.Deliver(d.T.Context(), d.storeDelivery(sentDelivery{body: body})))
}

// builtRefs returns the number of builds by ref and commit.
func (d *chaosEnv) builtRefs() map[string]int {
	d.T.Helper()
	all := map[string]int{}
	for _, b := range d.allBuilds() {
		all[b.Ref.Full()+" "+b.Commit.Hash]++
	}
	return all
}
