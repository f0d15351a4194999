package crashtest

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
	"slipway/plugin/store"
)

const (
	streams = 3
	// A gateway lives at most lifetimeFactor times as long as one push takes, and at most
	// maxLifetime. If it always died before a build can end, the test would prove little.
	lifetimeFactor = 3
	maxLifetime    = 6 * time.Second
	// After each restEvery kills, builds that these interrupted may end. After MaxInterrupted attempts, they
	// would fail, and on a machine whose load rises no build may end within a lifetime.
	restEvery = autobuild.MaxInterrupted / 2
	// After every missedEvery-th kill on average, a push comes while no gateway runs, and quickPushes to the same
	// branch come when one has started.
	missedEvery = 4
	quickPushes = 3
)

// kills returns how often the gateway is killed on each of two databases: fifty times in total, and a
// thousand times in the long form. SLIPWAY_TRUST_KILLS sets another number for each database.
func kills() int {
	if n, err := strconv.Atoi(os.Getenv("SLIPWAY_TRUST_KILLS")); err == nil {
		return n
	}
	if isLong() {
		return 500
	}
	return 25
}

// F1: a gateway is killed again and again at random moments during a stream of pushes. It builds
// every push whose delivery it accepted, and none twice, also those that come quickly after missed ones.
func TestF1KillsAtRandom(t *testing.T) {
	onBoth(t, func(t *testing.T, o localenv.Options) {
		o.Environment = append(o.Environment, "SLIPWAY_CONCURRENCY=2") // fewer builds start again after a kill
		env := demotest.StartSignedIn(t, o)
		all, once := startStreams(env)
		seed := rand.Uint64()
		t.Logf("seed %d, a push takes %s", seed, once)
		random := rand.New(rand.NewPCG(seed, 0))
		next, quick := random.IntN(streams), 1
		for n := range kills() {
			env = env.For(t) // with a timeout of its own
			if n%restEvery == 0 {
				all.rest(env)
			}
			for range quick {
				all.push(env, next)
			}
			moment := time.NewTimer(time.Duration(random.Int64N(int64(min(lifetimeFactor*once, maxLifetime)))))
			select {
			case <-moment.C:
			case <-env.Context.Done():
				t.Fatal(env.Context.Err())
			}
			env.Must(env.Gateway.Kill())
			next, quick = random.IntN(streams), 1
			if random.IntN(missedEvery) == 0 {
				all.push(env, next)
				quick = quickPushes
			}
			env.Must(env.Gateway.Start(env.Context))
		}
		all.check(env.For(t))
		checkNothingLeft(env.For(t), all.projects[0])
	})
}

// A stream is the pushes to one project.
type stream struct {
	commits []string // pushed, oldest first
	newest  string   // content of greeting.txt in the newest commit
}

type pushes struct {
	projects []*demotest.Project
	streams  []stream
}

// startStreams creates the projects. It measures the time from a push to the commit's status.
func startStreams(env *demotest.Env) (all *pushes, once time.Duration) {
	env.T.Helper()
	all = &pushes{streams: make([]stream, streams)}
	for range streams {
		all.projects = append(all.projects, env.Automate(env.Dockerfile("x"), demotest.MainRule()))
	}
	begin := time.Now()
	all.push(env, 0)
	all.projects[0].WaitEnd(1, autobuild.Succeeded)
	return all, time.Since(begin)
}

func (all *pushes) push(env *demotest.Env, i int) {
	env.T.Helper()
	p, s := all.projects[i].For(env), &all.streams[i]
	s.newest = fmt.Sprint("push ", len(s.commits), " of ", i)
	s.commits = append(s.commits, p.Commit(s.newest, env.Dockerfile(s.newest)))
	p.Push("main")
}

// check waits until all builds have ended, and compares them with the pushed commits and the
// accepted deliveries.
func (all *pushes) check(env *demotest.Env) {
	env.T.Helper()
	s, err := env.Gateway.Store(env.Context)
	env.Must(err)
	defer s.Close()
	var sums tally
	for i, p := range all.projects {
		if len(all.streams[i].commits) > 0 {
			sums.add(checkStream(env, s, p.For(env), all.streams[i]))
		}
	}
	env.T.Logf(
		"%d kills: %d pushes, %d deliveries accepted, %d built, %d lost, %d built twice", kills(), sums.pushed,
		sums.accepted, sums.built, sums.lost, sums.doubled,
	)
	if sums.lost > 0 {
		env.T.Errorf("lost pushes: got %d, want none", sums.lost)
	}
	if sums.doubled > 0 {
		env.T.Errorf("pushes that were built twice: got %d, want none", sums.doubled)
	}
	if sums.accepted == 0 {
		env.T.Error("accepted deliveries: got none, want at least one")
	}
}

// rest waits for the end of the builds that kills have interrupted.
func (all *pushes) rest(env *demotest.Env) {
	env.T.Helper()
	for _, p := range all.projects {
		_, err := p.Wait(env.Context, 0, func(builds []autobuild.Build) bool {
			return !slices.ContainsFunc(builds, func(b autobuild.Build) bool {
				return b.Attempt >= restEvery && !slices.Contains(localenv.Final(), b.State)
			})
		})
		env.Must(err)
	}
}

// A tally counts pushes. lost are accepted ones without a build.
type tally struct{ pushed, accepted, built, lost, doubled int }

func (t *tally) add(o tally) {
	t.pushed += o.pushed
	t.accepted += o.accepted
	t.built += o.built
	t.lost += o.lost
	t.doubled += o.doubled
}

func checkStream(env *demotest.Env, s *store.Store, p *demotest.Project, pushed stream) tally {
	env.T.Helper()
	head := pushed.commits[len(pushed.commits)-1]
	builds, err := p.Wait(env.Context, 1, func(builds []autobuild.Build) bool {
		return builds[0].Commit.Hash == head && localenv.AllFinal(builds) && allPlanned(env.Context, s)
	})
	env.Must(err)
	sums := tally{pushed: len(pushed.commits), built: len(builds)}
	count := map[string]int{} // builds by commit
	for _, b := range builds {
		count[b.Commit.Hash]++
		if b.State != autobuild.Succeeded && b.Reason != autobuild.ReasonSuperseded {
			env.T.Error(env.DescribeBuild(b))
		}
	}
	for _, commit := range pushed.commits {
		sums.doubled += max(0, count[commit]-1)
	}
	accepted := acceptedCommits(env, p)
	sums.accepted = len(accepted)
	for _, commit := range accepted {
		if count[commit] == 0 {
			sums.lost++
			env.T.Errorf("accepted delivery of %s: got no build, want one: %s", commit, traceOf(env, s, p, commit))
		}
	}
	p.CheckImage("latest", builds[0], pushed.newest)
	_, err = p.Env.WaitStatus(env.Context, builds[0])
	env.Must(err)
	p.CheckOneSuccess(head)
	return sums
}

// traceOf describes the deliveries of a commit and the project's builds, for an error message.
func traceOf(env *demotest.Env, s *store.Store, p *demotest.Project, commit string) string {
	env.T.Helper()
	text := ""
	for _, sent := range env.Bitbucket.Deliveries(p.Repository.Hooks()[0].UUID) {
		if strings.Contains(string(sent.Body), commit) {
			text += fmt.Sprintf("\nsent: %+v", sent.Attempts)
		}
	}
	stored, err := s.Deliveries(env.Context, autobuild.DeliveryFilter{Limit: 10_000})
	env.Must(err)
	for _, d := range stored {
		d, err = s.Delivery(env.Context, d.ID) // with its body
		env.Must(err)
		if strings.Contains(string(d.Body), commit) {
			text += fmt.Sprintf("\nstored: %s, received %s, planned %s: %s %s %+v",
				d.ID, d.ReceivedAt, d.PlannedAt, d.State, d.Reason, d.Outcomes)
		}
	}
	builds, err := p.Builds(env.Context)
	env.Must(err)
	for _, b := range builds {
		text += fmt.Sprintf("\nbuild %d of %s, created %s, %s, seq %d",
			b.Number, b.Commit.Hash, b.CreatedAt, b.Cause, b.Seq)
	}
	return text
}

// allPlanned reports whether every delivery was planned.
func allPlanned(ctx context.Context, s *store.Store) bool {
	all, err := s.Deliveries(ctx, autobuild.DeliveryFilter{Limit: 10_000})
	if err != nil {
		return false
	}
	for _, d := range all {
		if d.State == autobuild.DeliveryReceived {
			return false
		}
	}
	return true
}

// acceptedCommits returns the commits whose deliveries the gateway answered with 2xx.
func acceptedCommits(env *demotest.Env, p *demotest.Project) (commits []string) {
	env.T.Helper()
	for _, d := range env.Bitbucket.Deliveries(p.Repository.Hooks()[0].UUID) {
		if !isAccepted(d) {
			continue
		}
		var body struct {
			Push struct {
				Changes []struct {
					New struct{ Target struct{ Hash string } }
				}
			}
		}
		env.Must(json.Unmarshal(d.Body, &body))
		for _, c := range body.Push.Changes {
			commits = append(commits, c.New.Target.Hash)
		}
	}
	return commits
}

func isAccepted(d bitbuckettest.Delivery) bool {
	for _, a := range d.Attempts {
		if a.Status >= http.StatusOK && a.Status < http.StatusMultipleChoices {
			return true
		}
	}
	return false
}
