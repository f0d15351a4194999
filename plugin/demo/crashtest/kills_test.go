package crashtest

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
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
	// longLife is how many times longer than one push takes here a gateway lives at most, longest
	// bounds it: what dies before anything can end proves little.
	longLife = 3
	longest  = 6 * time.Second
)

// kills is how often the gateway is killed on each database: fifty times on both, and more often
// where the time is not counted.
func kills() int {
	if os.Getenv("SLIPWAY_TRUST") != "" {
		return 200
	}
	return 25
}

// F1: a gateway that is killed again and again, at any moment, under a stream of pushes keeps
// every push that it promised to keep, and builds none twice.
func TestF1KillsAtRandom(t *testing.T) {
	onBoth(t, func(t *testing.T, o localenv.Options) {
		o.Environment = append(o.Environment, "SLIPWAY_CONCURRENCY=2") // what is not under way need not be done again
		env := demotest.StartSignedIn(t, o)
		all, once := startStreams(env)
		seed := rand.Uint64()
		t.Logf("seed %d, a push takes %s", seed, once)
		random := rand.New(rand.NewPCG(seed, 0))
		for range kills() {
			env = env.For(t) // with time of its own
			all.push(env, random.IntN(streams))
			moment := time.NewTimer(time.Duration(random.Int64N(int64(min(longLife*once, longest)))))
			select {
			case <-moment.C:
			case <-env.Context.Done():
				t.Fatal(env.Context.Err())
			}
			env.Must(env.Gateway.Kill())
			env.Must(env.Gateway.Start(env.Context))
		}
		all.check(env.For(t))
		leavesNothing(env.For(t), all.projects[0])
	})
}

// A stream is the pushes to one project.
type stream struct {
	commits []string // pushed, oldest first
	newest  string   // what the newest one's greeting.txt says
}

type pushes struct {
	projects []*demotest.Project
	streams  []stream
}

// startStreams makes the projects, and measures how long a push takes to its status.
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

// check waits until everything has ended and compares it with what was pushed and promised.
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
		"%d kills: %d pushes, %d deliveries promised, %d built, %d lost, %d doubled",
		kills(),
		sums.pushed,
		sums.promised,
		sums.built,
		sums.lost,
		sums.doubled,
	)
	if sums.lost+sums.doubled > 0 || sums.promised == 0 {
		env.T.Fail()
	}
}

type tally struct{ pushed, promised, built, lost, doubled int }

func (t *tally) add(o tally) {
	t.pushed, t.promised, t.built = t.pushed+o.pushed, t.promised+o.promised, t.built+o.built
	t.lost, t.doubled = t.lost+o.lost, t.doubled+o.doubled
}

func checkStream(env *demotest.Env, s *store.Store, p *demotest.Project, pushed stream) tally {
	env.T.Helper()
	head := pushed.commits[len(pushed.commits)-1]
	builds, err := p.Wait(env.Context, 1, func(builds []autobuild.Build) bool {
		return builds[0].Commit.Hash == head && localenv.AllFinal(builds) && noneWaits(env.Context, s)
	})
	env.Must(err)
	sums := tally{pushed: len(pushed.commits), built: len(builds)}
	of := map[string]int{}
	for _, b := range builds {
		of[b.Commit.Hash]++
		if b.State != autobuild.Succeeded && b.Reason != autobuild.ReasonSuperseded {
			env.T.Error(env.DescribeBuild(b))
		}
	}
	for _, commit := range pushed.commits {
		sums.doubled += max(0, of[commit]-1)
	}
	for _, commit := range promised(env, p) {
		sums.promised++
		if of[commit] == 0 {
			sums.lost++
			env.T.Errorf("the push of %s was promised and not built: %s", commit, fateOf(env, s, p, commit))
		}
	}
	p.CheckImage("latest", builds[0], pushed.newest)
	_, err = p.Env.WaitStatus(env.Context, builds[0])
	env.Must(err)
	p.CheckOneSuccess(head)
	return sums
}

// fateOf says what became of a commit's deliveries, for a test's last words.
func fateOf(env *demotest.Env, s *store.Store, p *demotest.Project, commit string) string {
	env.T.Helper()
	text := ""
	for _, sent := range env.Bitbucket.Deliveries(p.Repository.Hooks()[0].UUID) {
		if strings.Contains(string(sent.Body), commit) {
			text += fmt.Sprintf("\nsent: %+v", sent.Attempts)
		}
	}
	kept, err := s.Deliveries(env.Context, autobuild.DeliveryFilter{Limit: 1000})
	env.Must(err)
	for _, d := range kept {
		d, err = s.Delivery(env.Context, d.ID) // with its body
		env.Must(err)
		if strings.Contains(string(d.Body), commit) {
			text += fmt.Sprintf(
				"\nkept: %s, received %s, planned %s: %s %s %+v",
				d.ID,
				d.ReceivedAt,
				d.PlannedAt,
				d.State,
				d.Reason,
				d.Outcomes,
			)
		}
	}
	builds, err := p.Builds(env.Context)
	env.Must(err)
	for _, b := range builds {
		text += fmt.Sprintf(
			"\nbuild %d of %s, made %s, %s, seq %d",
			b.Number,
			b.Commit.Hash,
			b.CreatedAt,
			b.Cause,
			b.Seq,
		)
	}
	return text
}

// noneWaits reports whether every delivery was planned.
func noneWaits(ctx context.Context, s *store.Store) bool {
	all, err := s.Deliveries(ctx, autobuild.DeliveryFilter{Limit: 1000})
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

// promised lists the commits whose deliveries were answered with success.
func promised(env *demotest.Env, p *demotest.Project) (commits []string) {
	env.T.Helper()
	for _, d := range env.Bitbucket.Deliveries(p.Repository.Hooks()[0].UUID) {
		if !answered(d) {
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

func answered(d bitbuckettest.Delivery) bool {
	for _, a := range d.Attempts {
		if a.Status >= http.StatusOK && a.Status < http.StatusMultipleChoices {
			return true
		}
	}
	return false
}
