package crashtest

import (
	"fmt"
	"os"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
)

// stepsOfARunner are the steps of an attempt that builds a version, in its order.
func stepsOfARunner(v version) []string {
	return []string{
		"claim",
		"fetch",
		"build",
		"record digest",
		"permit",
		"upload",
		"push tag " + v.tags()[0],
		"push tag " + v.tags()[1],
		"finish",
	}
}

// deadly reports whether a runner is to die there. What follows a step is what stands before
// the next one, but for the last, before which the log is sent: only the long form goes through
// both.
func deadly(when, step string) bool {
	return when == demotest.After || step == "claim" || step == "finish" || os.Getenv("SLIPWAY_TRUST") != ""
}

// F1: a runner that dies before or after any of its steps has its push built once all the same,
// by a further attempt: each tag at the recorded digest, one final status, no process or mount
// left behind. What the database is does not matter to it: this is on SQLite alone.
func TestF1EveryStepOfTheRunner(t *testing.T) {
	demotest.RequireTools(t)
	t.Parallel()
	env := demotest.StartSignedIn(
		t,
		localenv.Options{Environment: []string{"SLIPWAY_CONCURRENCY=20", "SLIPWAY_BUILDER_NETWORK=none"}},
	)
	s := env.RunnersSentence()
	p := env.Automate(env.Dockerfile("x"), demotest.VersionRule())
	var pushed []version
	for i := range stepsOfARunner(version{}) {
		for _, when := range []string{demotest.Before, demotest.After} {
			v := version{number: len(pushed), when: when, attempts: 2}
			v.where = stepsOfARunner(v)[i]
			if v.where == "finish" && when == demotest.After {
				v.attempts = 1 // it was over
			}
			if deadly(when, v.where) {
				pushed = append(pushed, v.push(env.For(t), s, p))
			}
		}
	}
	builtOnce(t, env, p, pushed, (*demotest.Project).CheckOneEnd)
	leavesNothing(env.For(t), p)
}

// A version is pushed as a tag of its own, so that it waits for no other, under a sentence.
type version struct {
	number      int
	when, where string // of the sentence
	attempts    int    // that its build takes at most
	commit      string
}

func (v version) name() string { return fmt.Sprintf("%d.0", v.number) }

// tags are its image's.
func (v version) tags() []string { return []string{v.name(), fmt.Sprint(v.number)} }

// push returns when the sentence was carried out.
func (v version) push(env *demotest.Env, s demotest.Sentence, p *demotest.Project) version {
	env.T.Helper()
	p = p.For(env)
	v.commit = p.Commit(v.name(), env.Dockerfile(v.name()))
	p.Git("tag", "v"+v.name())
	env.Must(s.Pass(v.when, v.where))
	p.Push("v" + v.name())
	env.WaitUntil("it came to be "+v.when+" "+v.where, s.CarriedOut)
	return v
}

// builtOnce waits until all has ended, and checks what each version came to; told looks at what
// Bitbucket was told of its commit.
func builtOnce(
	t *testing.T,
	env *demotest.Env,
	p *demotest.Project,
	pushed []version,
	told func(p *demotest.Project, commit string),
) {
	t.Helper()
	builds := map[string]autobuild.Build{}
	for _, b := range p.For(env.For(t)).WaitAll(len(pushed)) {
		builds[b.Commit.Hash] = b
	}
	for _, v := range pushed {
		t.Run(v.when+" "+v.where, func(t *testing.T) {
			env := env.For(t)
			p := p.For(env)
			b := builds[v.commit]
			if b.State != autobuild.Succeeded || b.Attempt > v.attempts {
				t.Fatalf("want success in at most %d attempts, but %s", v.attempts, env.DescribeBuild(b))
			}
			for _, tag := range v.tags() {
				p.CheckImage(tag, b, v.name())
			}
			_, err := env.WaitStatus(env.Context, b)
			env.Must(err)
			told(p, v.commit)
		})
	}
}
