package planner_test

import (
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"slipway/config/must"
	"slipway/plugin/autobuild"
)

// checkRefs compares the stored refs with the model. It runs after every step.
func (d *chaosEnv) checkRefs(t *rapid.T) {
	if d.wild {
		return // the model does not know which pages a poll read before a ref moved
	}
	for _, ref := range refNames {
		if got, want := d.State(refOf(ref)), d.ledger.known[ref]; got != want {
			t.Fatalf("%s is known at %+v, want %+v", ref, got, want)
		}
	}
}

// allBuilds returns the builds of this run.
func (d *chaosEnv) allBuilds() []autobuild.Build {
	var all []autobuild.Build
	for _, a := range d.automated {
		builds, err := d.Store.Builds(d.T.Context(), autobuild.BuildFilter{AutomatedBuildID: a.ID, Limit: 10_000})
		must.Succeed(d.T, err)
		all = append(all, builds...)
	}
	return all
}

// check polls, and compares all builds with the model.
func (d *chaosEnv) check(t *rapid.T) {
	if d.wild {
		d.checkWild(t)
		return
	}
	d.pollNow(t)
	d.checkRefs(t)
	lines, last := []string{}, map[string]autobuild.Build{}
	for _, b := range d.allBuilds() {
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
			head := d.heads[ref]
			if head != "" && !d.ledger.withheld(ref) && last[image+" "+ref].Commit.Hash != head {
				t.Fatalf("head of %s: got %.7s, want the last build of %s at it: %.7s", ref, head, image,
					last[image+" "+ref].Commit.Hash)
			}
		}
	}
}

// start starts a random queued build.
func (d *chaosEnv) start(t *rapid.T) {
	d.withAnyBuild(t, func(b autobuild.Build) bool { return b.State == autobuild.Queued }, func(b autobuild.Build) {
		_, err := d.Store.StartAttempt(
			d.T.Context(),
			b.ID,
			"embedded",
			b.ID,
			d.Clock().Add(time.Hour),
			autobuild.Limits{},
		)
		if err != nil {
			t.Fatal(err)
		}
	})
}

// askPermit requests a permit for the tags of a random started build.
func (d *chaosEnv) askPermit(t *rapid.T) {
	d.withAnyBuild(t, func(b autobuild.Build) bool { return b.State == autobuild.Starting },
		func(b autobuild.Build) { d.permit(t, b) })
}

// permit requests all tags of a build, and checks the response against the earlier permits.
func (d *chaosEnv) permit(t *rapid.T, b autobuild.Build) {
	granted, holder, err := d.Store.Permit(d.T.Context(), b.ID, 1, b.Tags, nil)
	if err != nil {
		t.Fatal(err)
	}
	newer := slices.ContainsFunc(b.Tags, func(tag string) bool { return d.held[place(b, tag)] > b.Seq })
	if granted == newer {
		t.Fatalf(
			"permit of %s, transition %d, for %v: got %v with holder %d, want one unless newer; held: %v",
			b.Ref.Full(),
			b.Seq,
			b.Tags,
			granted,
			holder.Seq,
			d.held,
		)
	}
	for _, tag := range b.Tags {
		if granted {
			d.held[place(b, tag)] = b.Seq
		}
	}
}

func place(b autobuild.Build, tag string) string { return b.Image + ":" + tag + " " + b.Ref.Full() }

// withAnyBuild calls do with a random build that fits, if there is one.
func (d *chaosEnv) withAnyBuild(t *rapid.T, fits func(autobuild.Build) bool, do func(autobuild.Build)) {
	fit := slices.DeleteFunc(d.allBuilds(), func(b autobuild.Build) bool { return !fits(b) })
	if len(fit) > 0 {
		do(rapid.SampledFrom(fit).Draw(t, "build"))
	}
}

// checkPermits lets all builds push in random order. Each tag must end at its ref's newest build.
func (d *chaosEnv) checkPermits(t *rapid.T) {
	for _, b := range d.allBuilds() {
		if b.State == autobuild.Queued {
			_, err := d.Store.StartAttempt(
				d.T.Context(),
				b.ID,
				"embedded",
				b.ID,
				d.Clock().Add(time.Hour),
				autobuild.Limits{},
			)
			must.Succeed(d.T, err)
		}
	}
	all := d.allBuilds()
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

// checkReplays sends all deliveries again. The first replay may deliver lost ones. After that,
// further replays start no build.
func (d *chaosEnv) checkReplays(t *rapid.T) {
	for _, p := range d.sent {
		d.receive(t, p)
	}
	d.calm = false // replays do not arrive in the order of the pushes
	d.check(t)
	before := len(d.allBuilds())
	for _, p := range d.sent {
		d.receive(t, p)
	}
	d.check(t)
	if after := len(d.allBuilds()); after != before {
		t.Fatalf("builds of replays: got %d, want none", after-before)
	}
}
