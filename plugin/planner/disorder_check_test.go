package planner_test

import (
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

// checkRefs holds after every step.
func (d *disorder) checkRefs(t *rapid.T) {
	for _, ref := range refNames {
		if got, want := d.state(refOf(ref)), d.ledger.known[ref]; got != want {
			t.Fatalf("%s is known at %+v, want %+v", ref, got, want)
		}
	}
}

// ofRun returns the builds of this run.
func (d *disorder) ofRun() []autobuild.Build {
	var all []autobuild.Build
	for _, a := range d.automated {
		builds, err := d.store.Builds(d.t.Context(), store.BuildFilter{AutomatedBuildID: a.ID, Limit: 10_000})
		must(d.t, err)
		all = append(all, builds...)
	}
	return all
}

// check polls, and compares everything that was built with the model.
func (d *disorder) check(t *rapid.T) {
	d.pollNow(t)
	d.checkRefs(t)
	lines, last := []string{}, map[string]autobuild.Build{}
	for _, b := range d.ofRun() {
		lines = append(lines, line(b.Image, b.Ref.Full(), b.Seq, b.Commit.Hash))
		if key := b.Image + " " + b.Ref.Full(); b.Seq > last[key].Seq {
			last[key] = b
		}
	}
	slices.Sort(lines)
	if diff := cmp.Diff(d.ledger.builds(), lines); diff != "" {
		t.Fatalf("builds (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(pushed(d.history), lines); d.calm && diff != "" {
		t.Fatalf("nothing was lost or overtaken, yet builds differ from the pushes (-want +got):\n%s", diff)
	}
	for _, ref := range refNames {
		for _, image := range imagesOf(ref) {
			if head := d.heads[ref]; head != "" && last[image+" "+ref].Commit.Hash != head {
				t.Fatalf("%s is at %.7s, the last build of %s is of %.7s", ref, head, image, last[image+" "+ref].Commit.Hash)
			}
		}
	}
}

// start starts any build that waits.
func (d *disorder) start(t *rapid.T) {
	d.some(t, func(b autobuild.Build) bool { return b.State == autobuild.Queued }, func(b autobuild.Build) {
		_, err := d.store.StartAttempt(d.t.Context(), b.ID, "embedded", b.ID, d.now.Add(time.Hour), 0)
		if err != nil {
			t.Fatal(err)
		}
	})
}

// askPermit lets any build under way ask to move its tags.
func (d *disorder) askPermit(t *rapid.T) {
	d.some(t, func(b autobuild.Build) bool { return b.State == autobuild.Starting }, func(b autobuild.Build) { d.permit(t, b) })
}

// permit asks for all tags of a build, and compares the answer with those before.
func (d *disorder) permit(t *rapid.T, b autobuild.Build) {
	granted, holder, err := d.store.Permit(d.t.Context(), b.ID, 1, b.Tags, nil)
	if err != nil {
		t.Fatal(err)
	}
	newer := slices.ContainsFunc(b.Tags, func(tag string) bool { return d.held[place(b, tag)] > b.Seq })
	if granted == newer {
		t.Fatalf("%s seq %d asks for %v: granted %v, holder %d; held are %v", b.Ref.Full(), b.Seq, b.Tags, granted, holder.Seq, d.held)
	}
	for _, tag := range b.Tags {
		if granted {
			d.held[place(b, tag)] = b.Seq
		}
	}
}

func place(b autobuild.Build, tag string) string { return b.Image + ":" + tag + " " + b.Ref.Full() }

// some does something with one build of those that fit, if there is one.
func (d *disorder) some(t *rapid.T, fits func(autobuild.Build) bool, do func(autobuild.Build)) {
	fit := slices.DeleteFunc(d.ofRun(), func(b autobuild.Build) bool { return !fits(b) })
	if len(fit) > 0 {
		do(rapid.SampledFrom(fit).Draw(t, "build"))
	}
}

// checkPermits lets every build push, in any order: each tag ends at its ref's newest build.
func (d *disorder) checkPermits(t *rapid.T) {
	for _, b := range d.ofRun() {
		if b.State == autobuild.Queued {
			_, err := d.store.StartAttempt(d.t.Context(), b.ID, "embedded", b.ID, d.now.Add(time.Hour), 0)
			must(d.t, err)
		}
	}
	all := d.ofRun()
	newest := map[string]int64{}
	for _, b := range all {
		for _, tag := range b.Tags {
			newest[place(b, tag)] = max(newest[place(b, tag)], b.Seq)
		}
	}
	if len(all) > 0 {
		all = rapid.Permutation(all).Draw(t, "order")
	}
	for _, b := range all {
		d.permit(t, b)
	}
	if diff := cmp.Diff(newest, d.held); diff != "" {
		t.Fatalf("seq of the build that every tag is at (-want +got):\n%s", diff)
	}
}

// checkReplays sends again all that was ever sent. What was lost may still fit; after that
// nothing is news, however often it comes.
func (d *disorder) checkReplays(t *rapid.T) {
	for _, p := range d.sent {
		d.receive(t, p)
	}
	d.calm = false // a replay is no push in its turn
	d.check(t)
	before := len(d.ofRun())
	for _, p := range d.sent {
		d.receive(t, p)
	}
	d.check(t)
	if after := len(d.ofRun()); after != before {
		t.Fatalf("replays made %d builds", after-before)
	}
}
