package crashtest

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/world"
	"slipway/plugin/demo/world/worldtest"
)

// stepsOfARunner are the steps of an attempt that builds version n, in its order.
func stepsOfARunner(n int) []string {
	return []string{
		"claim", "fetch", "build", "record digest", "permit", "upload",
		fmt.Sprintf("push tag %d.0", n), fmt.Sprintf("push tag %d", n), "finish",
	}
}

// deadly reports whether a runner is to die there. What follows a step is what stands before
// the next one, but for the last, before which the log is sent: only the long form goes through
// both.
func deadly(when, step string) bool {
	return when == "after" || step == "claim" || step == "finish" || os.Getenv("SLIPWAY_TRUST") != ""
}

// A death is a version whose first runner dies.
type death struct {
	where    string // before or after which step
	version  string // of the image: 3.0, with tags 3.0 and 3
	commit   string
	attempts int // that it takes
}

// F1: a runner that dies before or after any of its steps has its push built once all the same,
// by a further attempt: each tag at the recorded digest, one final status, no process or mount
// left behind. What the database is does not matter to it: this is on SQLite alone.
func TestF1EveryStepOfTheRunner(t *testing.T) {
	worldtest.NeedMachine(t)
	t.Parallel()
	h := worldtest.Open(t, world.Options{Environment: []string{"SLIPWAY_CONCURRENCY=20", "SLIPWAY_BUILDER_NETWORK=none"}})
	s := h.RunnersSentence()
	p := h.Automate(h.Dockerfile("x"), worldtest.Versions())
	var deaths []death
	for i := range stepsOfARunner(0) {
		for _, when := range []string{"before", "after"} {
			n := len(deaths)
			if step := stepsOfARunner(n)[i]; deadly(when, step) {
				deaths = append(deaths, runnerDies(h, s, p, n, when, step))
			}
		}
	}
	h = h.For(t)
	p = &worldtest.Project{Project: p.Project, House: h}
	for i, b := range p.All(len(deaths)) {
		t.Run(deaths[i].where, func(t *testing.T) { isBuiltOnce(h.For(t), p, deaths[i], b) })
	}
	leavesNothing(h, p)
}

// runnerDies pushes version n, and returns when its runner died.
func runnerDies(h *worldtest.House, s worldtest.Sentence, p *worldtest.Project, n int, when, step string) death {
	h.T.Helper()
	version := fmt.Sprintf("%d.0", n)
	d := death{where: when + " " + step, version: version, commit: p.Commit(version, h.Dockerfile(version)), attempts: 2}
	if d.where == "after finish" {
		d.attempts = 1 // it was over
	}
	p.Git("tag", "v"+version)
	h.Must(s.Pass(when, step))
	p.Push("v" + version)
	h.Until("the runner died "+d.where, s.CarriedOut)
	return d
}

func isBuiltOnce(h *worldtest.House, p *worldtest.Project, d death, b autobuild.Build) {
	p = &worldtest.Project{Project: p.Project, House: h}
	if b.State != autobuild.Succeeded || b.Attempt != d.attempts || b.Commit.Hash != d.commit {
		h.T.Fatalf("want success of %s in attempt %d, but %s", d.commit, d.attempts, h.BuildOf(b))
	}
	p.Holds(d.version, b, d.version)
	p.Holds(strings.TrimSuffix(d.version, ".0"), b, d.version)
	_, err := h.WaitStatus(h.Context, b)
	h.Must(err)
	p.OneEnd(d.commit)
}
