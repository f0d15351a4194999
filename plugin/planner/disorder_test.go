package planner_test

import (
	"flag"
	"maps"
	"os"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// F17–F19: pushes of several refs at once, forced, deleting and making anew, told by two
// webhooks, late, twice, out of order, long after or never, polls between, and a planner that
// dies: every transition is built once by each rule that matches, and the last one is built.
func TestF17DisorderAtARealRepositoryBuildsWhatTheModelBuilds(t *testing.T) {
	runs(t, 1, 200)
	w := newTown(t)
	w.catch() // the second webhook of the repository
	commits := []string{}
	for _, message := range []string{"A", "B", "C"} {
		commits = append(commits, w.commit("main", message))
	}
	aside, err := w.app.Write(t.Context(), bitbuckettestCommit("aside"))
	must(t, err)
	d := &disorder{town: w, commits: append(commits, aside), heads: map[string]string{"refs/heads/main": commits[2]}}
	d.remote = func(refs map[string]string) [][]byte {
		w.push(refs)
		defer func() { w.caught = nil }()
		return w.bodies()
	}
	rapid.Check(t, d.run)
}

// The same on a repository without git, where ten thousand runs take minutes.
func TestF17DisorderAtAPaperRepositoryBuildsWhatTheModelBuilds(t *testing.T) {
	runs(t, 6, 10_000)
	w, p := newPaperTown(t)
	d := &disorder{town: w, commits: p.commits, heads: map[string]string{}, remote: p.push}
	rapid.Check(t, d.run)
}

// runs says how many runs rapid makes: short, or with SLIPWAY_TRUST=1 long.
func runs(t *testing.T, short, long int) {
	t.Helper()
	checks := flag.Lookup("rapid.checks").Value
	before := checks.String()
	t.Cleanup(func() { must(t, checks.Set(before)) })
	n := short
	if os.Getenv("SLIPWAY_TRUST") == "1" {
		n = long
	}
	must(t, checks.Set(strconv.Itoa(n)))
}

// run is one life of the repository, from empty on.
func (d *disorder) run(t *rapid.T) {
	d.begin(t)
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
	for len(d.underWay) > 0 {
		d.deliver(t, true)
	}
	d.check(t)
	d.checkPermits(t)
	d.checkReplays(t)
}

// recreate pushes a deleted ref where it was before it was deleted.
func (d *disorder) recreate(*rapid.T) {
	for _, ref := range slices.Sorted(maps.Keys(d.deleted)) {
		d.push(map[string]string{ref: d.deleted[ref]})
		return
	}
}

// deliver hands over one delivery that is under way: in disorder any, else the oldest.
func (d *disorder) deliver(t *rapid.T, last bool) {
	if i, ok := d.pick(t); ok {
		d.receive(t, d.underWay[i])
		if last {
			d.underWay = slices.Delete(d.underWay, i, i+1)
		}
	}
}

func (d *disorder) pick(t *rapid.T) (int, bool) {
	if len(d.underWay) == 0 || d.calm {
		return 0, len(d.underWay) > 0
	}
	return rapid.IntRange(0, len(d.underWay)-1).Draw(t, "which"), true
}

func (d *disorder) drop(t *rapid.T) {
	if i, ok := d.pick(t); ok && !d.calm {
		d.underWay = slices.Delete(d.underWay, i, i+1)
	}
}

// replay sends any delivery again that was ever sent.
func (d *disorder) replay(t *rapid.T) {
	if len(d.sent) > 0 && !d.calm {
		d.receive(t, rapid.SampledFrom(d.sent).Draw(t, "sent"))
	}
}
