package planner_test

import (
	"flag"
	"maps"
	"os"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"slipway/config/must"
	"slipway/plugin/planner/plannertest"
)

// F17–F19: Pushes move several refs at once, force, delete and recreate them. Two webhooks
// deliver them late, twice, out of order, much later or never. Polls run in between, and the
// planner is killed. Each matching rule builds every transition once, and builds the last one.
func TestF17DisorderAtARealRepositoryMatchesTheModel(t *testing.T) {
	runs(t, 1, 200)
	w := plannertest.New(t)
	w.RecordDeliveries() // the second webhook of the repository
	commits := []string{}
	for _, message := range []string{"A", "B", "C", "D"} {
		commits = append(commits, w.Commit("main", message))
	}
	aside, err := w.App.Write(t.Context(), bitbuckettestCommit("aside"))
	must.Succeed(t, err)
	d := &chaosEnv{Env: w, commits: append(commits, aside), heads: map[string]string{"refs/heads/main": commits[3]}}
	d.remote = func(refs map[string]string) [][]byte {
		w.Push(refs)
		return w.TakeBodies()
	}
	rapid.Check(t, d.run)
}

// The same test with a fake repository without git, because ten thousand runs then take only
// minutes. In half of the runs the lists of refs change between their pages (disorder_lists_test.go).
func TestF17DisorderAtAFakeRepositoryMatchesTheModel(t *testing.T) {
	runs(t, 60, 10_000)
	w, p := newFakeCloudEnv(t)
	d := &chaosEnv{Env: w, commits: p.commits, heads: map[string]string{}, remote: p.push, cloud: p}
	rapid.Check(t, d.run)
}

// runs sets the number of rapid's runs: short, or long with SLIPWAY_TRUST=1.
func runs(t *testing.T, short, long int) {
	t.Helper()
	checks := flag.Lookup("rapid.checks").Value
	before := checks.String()
	t.Cleanup(func() { must.Succeed(t, checks.Set(before)) })
	n := short
	if os.Getenv("SLIPWAY_TRUST") == "1" {
		n = long
	}
	must.Succeed(t, checks.Set(strconv.Itoa(n)))
}

// run executes random steps on a repository that starts empty.
func (d *chaosEnv) run(t *rapid.T) {
	d.startRun(t)
	t.Repeat(map[string]func(*rapid.T){
		"push": func(t *rapid.T) {
			ref := refs.Draw(t, "ref")
			next := (slices.Index(d.commits, d.heads[ref]) + 1) % len(d.commits)
			d.push(map[string]string{ref: d.commits[next]})
		},
		"force push": func(t *rapid.T) {
			d.push(map[string]string{refs.Draw(t, "ref"): rapid.SampledFrom(d.commits).Draw(t, "commit")})
		},
		"delete":    func(t *rapid.T) { d.push(map[string]string{refs.Draw(t, "ref"): ""}) },
		"re-create": d.recreate,
		"push several refs": func(t *rapid.T) {
			anywhere := rapid.SampledFrom(append([]string{""}, d.commits...))
			d.push(rapid.MapOfN(refs, anywhere, 2, len(refNames)).Draw(t, "refs"))
		},
		"deliver":          func(t *rapid.T) { d.deliver(t, true) },
		"deliver, to come": func(t *rapid.T) { d.deliver(t, false) },
		"drop":             d.drop,
		"replay":           d.replay,
		"die":              d.die,
		"poll":             func(t *rapid.T) { d.pollNow(t) },
		"start a build":    d.start,
		"ask for a permit": d.askPermit,
		"":                 d.checkRefs,
	})
	for len(d.pending) > 0 {
		d.deliver(t, true)
	}
	d.check(t)
	d.checkPermits(t)
	if !d.wild {
		d.checkReplays(t)
	}
}

// recreate pushes a deleted ref at its last commit.
func (d *chaosEnv) recreate(*rapid.T) {
	for _, ref := range slices.Sorted(maps.Keys(d.deleted)) {
		d.push(map[string]string{ref: d.deleted[ref]})
		return
	}
}

// deliver plans one pending delivery: the oldest in calm and wild runs, otherwise a random one.
func (d *chaosEnv) deliver(t *rapid.T, last bool) {
	if i, ok := d.pick(t); ok {
		d.receive(t, d.pending[i])
		if last {
			d.pending = slices.Delete(d.pending, i, i+1)
		}
	}
}

func (d *chaosEnv) pick(t *rapid.T) (int, bool) {
	if len(d.pending) == 0 || d.calm || d.wild {
		return 0, len(d.pending) > 0
	}
	return rapid.IntRange(0, len(d.pending)-1).Draw(t, "which"), true
}

func (d *chaosEnv) drop(t *rapid.T) {
	if i, ok := d.pick(t); ok && !d.calm {
		d.pending = slices.Delete(d.pending, i, i+1)
	}
}

// replay sends a random earlier delivery again.
func (d *chaosEnv) replay(t *rapid.T) {
	if len(d.sent) > 0 && !d.calm && !d.wild {
		d.receive(t, rapid.SampledFrom(d.sent).Draw(t, "sent"))
	}
}
