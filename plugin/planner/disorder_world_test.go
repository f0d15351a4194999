package planner_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/planner/plannertest"
)

var (
	refNames = []string{"refs/heads/dev", "refs/heads/main", "refs/tags/v1", "refs/tags/v2"}
	refs     = rapid.SampledFrom(refNames)
)

// chaosEnv is an env whose deliveries arrive in any order, with a reference model.
type chaosEnv struct {
	*plannertest.Env
	remote  func(refs map[string]string) [][]byte // pushes, and returns the payloads of the webhooks
	commits []string                              // one after the other, except the last one, which is unrelated
	heads   map[string]string                     // of the refs at the provider
	cloud   *fakeCloud                            // whose lists change between pages; nil = a real repository

	// The fields below are reset at the start of each run.
	automated []autobuild.AutomatedBuild
	calm      bool // no delivery is lost or reordered, and polls wait for pending deliveries
	wild      bool // lists change between pages, and deliveries are late or lost; only invariants are checked
	ledger    ledger
	deleted   map[string]string // last commits of deleted refs
	history   []report
	pending   []sentDelivery
	sent      []sentDelivery
	reported  map[report]bool  // by a delivery that was planned
	held      map[string]int64 // image, tag and ref → seq of the last permit
	runs      int
}

// A sentDelivery is the payload of a delivery and its parsed reports.
type sentDelivery struct {
	body    []byte
	reports []report
}

// startRun deletes all refs and registers the repository under a new source provider, so that the
// store knows nothing about it.
func (d *chaosEnv) startRun(t *rapid.T) {
	gone := map[string]string{}
	for ref, head := range d.heads {
		if head != "" {
			gone[ref] = ""
		}
	}
	if len(gone) > 0 {
		d.remote(gone)
	}
	d.reset()
	d.wild = d.cloud != nil && rapid.Bool().Draw(t, "wild")
	d.calm = !d.wild && rapid.Bool().Draw(t, "calm")
	d.watch()
}

func (d *chaosEnv) reset() {
	d.runs++
	d.heads, d.deleted, d.held = map[string]string{}, map[string]string{}, map[string]int64{}
	d.ledger = newLedger(d.commits)
	d.history, d.pending, d.sent = nil, nil, nil
	d.reported = map[report]bool{}
}

func (d *chaosEnv) watch() {
	ctx := d.T.Context()
	source, err := d.Store.SaveProvider(ctx,
		autobuild.Provider{Kind: autobuild.Cloud, Name: fmt.Sprint("bitbucket", d.runs)})
	must.Succeed(d.T, err)
	d.Connect(source.ID)
	d.Repo.ProviderID = source.ID
	d.Hook, err = d.Store.SaveHook(ctx, autobuild.Hook{
		AccountID:  "account",
		Repository: d.Repo,
		Secret:     secret.New("s"),
		State:      autobuild.HookActive,
		PolledAt:   d.Clock(),
	})
	must.Succeed(d.T, err)
	d.automated = []autobuild.AutomatedBuild{
		d.Automate("r/app", plannertest.BranchRule("/.*/", "{sourceref},latest"),
			plannertest.TagRule("/^v/", "{sourceref},release")),
		d.Automate("r/main", plannertest.BranchRule("main", "stable")),
	}
	d.restart()
}

// restart replaces the planner, so that its state in memory is lost as after a process restart.
func (d *chaosEnv) restart() {
	d.Restart(nil)
}

// push moves refs and adds their deliveries to the pending ones.
func (d *chaosEnv) push(to map[string]string) {
	moves, reports := map[string]string{}, []report{}
	for _, ref := range refNames { // in the order in which Bitbucket lists changes
		commit, asked := to[ref]
		r := report{ref, d.heads[ref], commit}
		if asked && r.old != r.new && (!d.calm || !slices.Contains(d.history, r)) {
			moves[ref], reports = commit, append(reports, r)
		}
	}
	if len(moves) == 0 {
		return
	}
	for _, body := range d.remote(moves) {
		d.pending = append(d.pending, sentDelivery{body, reports})
		d.sent = append(d.sent, sentDelivery{body, reports})
	}
	for _, r := range reports {
		delete(d.deleted, r.ref)
		d.heads[r.ref] = r.new
		if r.new == "" {
			d.deleted[r.ref] = r.old
		}
	}
	d.history = append(d.history, reports...)
}

// receive stores and plans a delivery, and applies it to the model. It fails if a push is lost.
func (d *chaosEnv) receive(t *rapid.T, p sentDelivery) {
	kept := d.pushesToKeep(p)
	if err := d.Deliver(d.T.Context(), d.storeDelivery(p)); err != nil {
		t.Fatal(err)
	}
	d.checkKept(t, kept)
	d.applyReports(p)
}

func (d *chaosEnv) storeDelivery(p sentDelivery) (id string) {
	d.Advance(time.Second)
	return d.Receive(d.Hook, "repo:push", p.body)
}

func (d *chaosEnv) applyReports(p sentDelivery) {
	if d.wild {
		return
	}
	for _, r := range p.reports {
		d.ledger.apply(r, d.heads[r.ref])
	}
}

// die cancels the planner at a random API call of a delivery, or after the last one. The
// delivery's task then runs again in a new planner.
func (d *chaosEnv) die(t *rapid.T) {
	i, ok := d.pick(t)
	if !ok {
		return
	}
	id := d.storeDelivery(d.pending[i])
	ctx, kill := context.WithCancel(d.T.Context())
	defer kill()
	calls := rapid.IntRange(0, 6).Draw(t, "calls")
	d.Faults.Before = func() {
		calls--
		if calls < 0 {
			kill()
		}
	}
	kept := d.pushesToKeep(d.pending[i])
	err := d.Deliver(ctx, id)
	d.Faults.Before = nil
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	d.restart()
	if err := d.Deliver(d.T.Context(), id); err != nil {
		t.Fatal(err)
	}
	d.checkKept(t, kept)
	d.applyReports(d.pending[i])
	d.pending = slices.Delete(d.pending, i, i+1)
}

// pollNow polls. In calm runs it does nothing while deliveries are pending.
func (d *chaosEnv) pollNow(t *rapid.T) {
	if d.calm && len(d.pending) > 0 {
		return
	}
	if d.wild {
		d.pollWildly(t)
		return
	}
	if err := d.Poll(d.T.Context(), d.Hook); err != nil {
		t.Fatal(err)
	}
	d.ledger.settle(d.heads)
}
