package planner_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"pgregory.net/rapid"

	"slipway/config/discard"
	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/planner"
)

// A listEvent happens before a request for refs is answered, and damages the answer.
type listEvent struct {
	Ref, Commit string // pushed before the answer; an empty Ref pushes nothing, an empty Commit deletes
	Deliver     bool   // another gateway plans a pending delivery
	Order       uint64 // of the entries of this page: 0 = by name
	Fault       string
}

// The faults of a page: no entries, the end of the list, entries of an earlier time, entries that are on
// another page too, a lacking entry, and an error.
var listFaults = []string{"", "", "", "empty", "end", "stale", "repeat", "gap", "fail"}

var listEvents = rapid.Custom(func(t *rapid.T) listEvent {
	return listEvent{
		Ref:     rapid.SampledFrom(append([]string{"", ""}, refNames...)).Draw(t, "ref"),
		Commit:  rapid.SampledFrom([]string{"", "a", "b", "c", "d", "e"}).Draw(t, "commit"),
		Deliver: rapid.Bool().Draw(t, "deliver"),
		Order:   rapid.Uint64Range(0, 3).Draw(t, "order"),
		Fault:   rapid.SampledFrom(listFaults).Draw(t, "fault"),
	}
})

// next returns the next event of the script, after its change of the repository.
func (p *fakeCloud) next() listEvent {
	if len(p.script) == 0 {
		return listEvent{}
	}
	event, rest := p.script[0], p.script[1:]
	p.script = nil // the requests of the other gateway are answered correctly
	p.happens(event)
	p.script = rest
	return event
}

// list answers a request for a page of branches or tags, one per page in a scripted poll. Each page is
// one of the list at its time and in its own order. So refs that move between pages are on two pages or on
// none.
func (p *fakeCloud) list(w http.ResponseWriter, r *http.Request, prefix string) {
	length := 100
	switch given := r.URL.Query().Get("length"); {
	case given != "": // as on the first page
		length, _ = strconv.Atoi(given)
	case len(p.script) > 0:
		length = 1
	}
	event := p.next()
	heads := p.heads
	if event.Fault == "stale" {
		heads = p.earlier
	}
	values := []object{}
	for ref, head := range heads {
		if name, ok := strings.CutPrefix(ref, prefix); ok {
			values = append(values, object{"name": name, "target": object{"hash": head}})
		}
	}
	slices.SortFunc(values, func(a, b object) int { return strings.Compare(a["name"].(string), b["name"].(string)) })
	if event.Order > 0 {
		shuffle := rand.New(rand.NewPCG(event.Order, 0))
		shuffle.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
	}
	page, _ := strconv.Atoi(r.URL.Query().Get("page"))
	first := min(page*length, len(values))
	last := min(first+length, len(values))
	answer := object{"values": values[first:last]}
	if last < len(values) {
		answer["next"] = "https://" + r.URL.Host + r.URL.Path + fmt.Sprintf("?page=%d&length=%d", page+1, length)
	}
	switch event.Fault {
	case "fail":
		w.WriteHeader(http.StatusForbidden)
	case "empty":
		answer = object{"values": []object{}}
	case "end":
		delete(answer, "next")
	case "repeat":
		answer["values"] = values
	case "gap":
		answer["values"] = []object{}
	}
	reply(w, answer)
}

// pollWildly polls while the repository and its lists change.
func (d *chaosEnv) pollWildly(t *rapid.T) {
	script := rapid.SliceOfN(listEvents, 1, 10).Draw(t, "events")
	other := planner.New(planner.Options{Store: d.Store, Connector: d.Account, Now: d.Clock, Log: discard.Logger()})
	d.cloud.script = script
	d.cloud.happens = func(e listEvent) {
		if e.Ref != "" {
			commit := e.Commit
			if commit != "" {
				commit = strings.Repeat(commit, 40)
			}
			d.push(map[string]string{e.Ref: commit})
		}
		if e.Deliver && len(d.pending) > 0 {
			must.Succeed(d.T, other.Deliver(d.T.Context(), d.storeDelivery(d.pending[0])))
			for _, r := range d.pending[0].reports {
				d.reported[r] = true
			}
			d.pending = d.pending[1:]
		}
	}
	err := d.Poll(d.T.Context(), d.Hook)
	d.cloud.script = nil
	fails := slices.ContainsFunc(script, func(e listEvent) bool { return e.Fault == "fail" })
	if err != nil && !fails && !errors.Is(err, autobuild.ErrConflict) { // the refs can move five times
		t.Fatalf("poll: got error %v, want none without a failing page", err)
	}
}

// checkWild polls without faults, and checks what holds whatever the lists were: every build is of a
// commit that its ref was pushed to, later builds are of later pushes, and every head is built, unless the
// ref reappeared at a commit that was built before.
func (d *chaosEnv) checkWild(t *rapid.T) {
	must.Succeed(d.T, d.Poll(d.T.Context(), d.Hook))
	builds := map[string][]autobuild.Build{} // by image and ref
	for _, b := range d.allBuilds() {
		key := b.Image + " " + b.Ref.Full()
		builds[key] = append(builds[key], b)
	}
	for _, ref := range refNames {
		if got := d.State(refOf(ref)); got.Head != d.heads[ref] {
			t.Fatalf("stored head of %s: got %.7s, want %.7s", ref, got.Head, d.heads[ref])
		}
		for _, image := range imagesOf(ref) {
			of := builds[image+" "+ref]
			slices.SortFunc(of, func(a, b autobuild.Build) int { return int(a.Seq - b.Seq) })
			d.checkOrder(t, ref, of)
			d.checkHeadBuilt(t, image, ref, of)
		}
	}
}

func (d *chaosEnv) checkHeadBuilt(t *rapid.T, image, ref string, builds []autobuild.Build) {
	head := d.heads[ref]
	if head == "" {
		return
	}
	if len(builds) > 0 && builds[len(builds)-1].Commit.Hash == head {
		return
	}
	for _, a := range d.automated {
		reappeared, err := d.Store.ReappearedRefs(d.T.Context(), a.ID)
		must.Succeed(d.T, err)
		for _, r := range reappeared {
			if a.Image == image && r.Ref == refOf(ref) && r.Commit == head && r.BuildNumber > 0 {
				return
			}
		}
	}
	t.Fatalf("head of %s: got no build of %s at %.7s and no ref that reappeared, want one", ref, image, head)
}
