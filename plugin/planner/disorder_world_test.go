package planner_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/planner"
)

var (
	refNames = []string{"refs/heads/dev", "refs/heads/main", "refs/tags/v1", "refs/tags/v2"}
	refs     = rapid.SampledFrom(refNames)
)

// disorder is a repository whose deliveries come as they like, beside the model of it.
type disorder struct {
	*town
	remote  func(refs map[string]string) [][]byte // pushes, and returns what the webhooks were sent
	commits []string
	heads   map[string]string // of the refs at the provider

	// Of one run.
	automated []autobuild.AutomatedBuild
	calm      bool // nothing is lost or overtaken, and polls wait until everything came
	ledger    ledger
	deleted   map[string]string // where deleted refs were
	history   []report
	underWay  []parcel
	sent      []parcel
	held      map[string]int64 // image, tag and ref → seq of the last permit
	runs      int
}

// A parcel is a delivery, and what it says.
type parcel struct {
	body    []byte
	reports []report
}

// begin empties the repository and has it watched anew: as that of another source provider,
// so that the store knows nothing of it.
func (d *disorder) begin(t *rapid.T) {
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
	d.calm = rapid.Bool().Draw(t, "calm")
	d.watch()
}

func (d *disorder) reset() {
	d.runs++
	d.heads, d.deleted, d.held = map[string]string{}, map[string]string{}, map[string]int64{}
	d.ledger, d.history, d.underWay, d.sent = newLedger(), nil, nil, nil
}

func (d *disorder) watch() {
	ctx := d.t.Context()
	source, err := d.store.SaveProvider(ctx, autobuild.Provider{Kind: autobuild.Cloud, Name: fmt.Sprint("bitbucket", d.runs)})
	must(d.t, err)
	d.connect(source.ID)
	d.repo.ProviderID = source.ID
	d.hook, err = d.store.SaveHook(ctx, autobuild.Hook{
		AccountID: "account", Repository: d.repo, Secret: secret.New("s"), State: autobuild.HookActive, PolledAt: d.now,
	})
	must(d.t, err)
	d.automated = []autobuild.AutomatedBuild{
		d.automate("r/app", branchRule("/.*/", "{sourceref},latest"), tagRule("/^v/", "{sourceref},release")),
		d.automate("r/main", branchRule("main", "stable")),
	}
	d.restart()
}

// restart lets another process plan: what the last one kept in memory is lost.
func (d *disorder) restart() {
	d.Planner = planner.New(planner.Options{Store: d.store, Connector: d.account, Now: d.clock, Log: quiet()})
}

// push moves refs, and sets their deliveries on their way.
func (d *disorder) push(to map[string]string) {
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
		d.underWay = append(d.underWay, parcel{body, reports})
		d.sent = append(d.sent, parcel{body, reports})
	}
	for _, r := range reports {
		delete(d.deleted, r.ref)
		if d.heads[r.ref] = r.new; r.new == "" {
			d.deleted[r.ref] = r.old
		}
	}
	d.history = append(d.history, reports...)
}

// receive has a delivery planned.
func (d *disorder) receive(t *rapid.T, p parcel) {
	if err := d.Deliver(d.t.Context(), d.arrive(p)); err != nil {
		t.Fatal(err)
	}
	d.hear(p)
}

func (d *disorder) arrive(p parcel) (id string) {
	d.now = d.now.Add(time.Second)
	return d.town.receive(d.hook, "repo:push", p.body)
}

func (d *disorder) hear(p parcel) {
	for _, r := range p.reports {
		d.ledger.hear(r, d.heads[r.ref])
	}
}

// die lets the process die at one of the calls for a delivery, or after the last; its task
// runs again in the next.
func (d *disorder) die(t *rapid.T) {
	i, ok := d.pick(t)
	if !ok {
		return
	}
	id := d.arrive(d.underWay[i])
	ctx, kill := context.WithCancel(d.t.Context())
	defer kill()
	calls := rapid.IntRange(0, 4).Draw(t, "calls")
	d.faults.before = func() {
		if calls--; calls < 0 {
			kill()
		}
	}
	err := d.Deliver(ctx, id)
	d.faults.before = nil
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	d.restart()
	if err := d.Deliver(d.t.Context(), id); err != nil {
		t.Fatal(err)
	}
	d.hear(d.underWay[i])
	d.underWay = slices.Delete(d.underWay, i, i+1)
}

// pollNow polls; while all is calm, polls give way to deliveries.
func (d *disorder) pollNow(t *rapid.T) {
	if d.calm && len(d.underWay) > 0 {
		return
	}
	if err := d.Poll(d.t.Context(), d.hook); err != nil {
		t.Fatal(err)
	}
	d.ledger.settle(d.heads)
}
