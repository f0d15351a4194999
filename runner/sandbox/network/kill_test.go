package network

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"slipway/config/must"
)

// The kernel removes the network of an owner that was killed.
func TestAKilledOwnerLeavesNoInterface(t *testing.T) {
	w := newWorld(t)
	owner := startOwner(t, order{ResolvConf: w.resolvConf})
	owner.report(t)
	if got := len(uplinksOf(t)); got != 1 {
		t.Fatalf("before the kill: got %d uplinks, want 1", got)
	}
	must.Succeed(t, owner.cmd.Process.Kill())
	eventually(t, "the kernel removes the uplink", func() bool { return len(uplinksOf(t)) == 0 })
}

// A process in a namespace that has outlived its owner keeps the network. The next start removes its
// uplink, and none of an owner that runs.
func TestSweepRemovesTheUplinksOfKilledOwners(t *testing.T) {
	w := newWorld(t)
	running := newRouter(t, w.options())
	kept := uplinksOf(t)
	owner := startOwner(t, order{ResolvConf: w.resolvConf, Linger: true})
	lingering := owner.report(t).Lingering
	must.Succeed(t, owner.cmd.Process.Kill())
	_ = owner.cmd.Wait()
	if !runs(lingering) {
		t.Fatal("got the process in the namespace ended, want it running")
	}
	if got := len(uplinksOf(t)); got != 2 {
		t.Fatalf("after the kill: got %d uplinks, want 2", got)
	}
	must.Succeed(t, Sweep())
	if diff := cmp.Diff(kept, uplinksOf(t)); diff != "" {
		t.Errorf("uplinks after the sweep (-want +got):\n%s", diff)
	}
	if _, err := read(join(t, running, "hook"), public4+":80"); err != nil {
		t.Errorf("the running router: got %v, want a connection", err)
	}
}

func TestAKilledOwnerLeavesNoSlirp(t *testing.T) {
	w := newWorld(t)
	owner := startOwner(t, w.rootless(t))
	got := owner.report(t)
	if !runs(got.Slirp) {
		t.Fatal("got no slirp4netns, want it running")
	}
	must.Succeed(t, unix.Kill(got.PID, unix.SIGKILL))
	eventually(t, "slirp4netns ends", func() bool { return !runs(got.Slirp) })
}

// Entering namespaces ends threads, which must not end slirp4netns.
func TestSlirpOutlivesTheThreadsOfItsOwner(t *testing.T) {
	w := newWorld(t)
	o := w.rootless(t)
	o.Dial = []string{public4 + ":80"}
	owner := startOwner(t, o)
	for range 20 {
		if got := owner.again(t).Words[o.Dial[0]]; got != "internet" {
			t.Fatalf("got %q, want the internet", got)
		}
	}
}

func TestOwnersAreFoundByTheirAlias(t *testing.T) {
	own := ownerAlias()
	for alias, want := range map[string]bool{
		own:                              true,
		"":                               true, // not ours
		"uplink of a person":             true,
		"slipway network of pid:[1] 1 1": true, // of a PID namespace that we do not see
		own + "1":                        false,
	} {
		if got := hasOwner(alias); got != want {
			t.Errorf("%q: got owner %t, want %t", alias, got, want)
		}
	}
}
