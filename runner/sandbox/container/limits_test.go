package container_test

import (
	"errors"
	"syscall"
	"testing"

	"slipway/runner/sandbox/cgroup"
	"slipway/runner/sandbox/container"
	"slipway/runner/sandbox/guest"
)

// A command that meets a limit must not take process 1 with it: the next command runs, and the counters
// say which limit it was.
func TestLimits(t *testing.T) {
	host, dir := newHost(t)
	tree, err := cgroup.Find()
	if err != nil {
		t.Skipf("SKIPPED: the test needs cgroups: %v", err)
	}
	owner, err := tree.Own("test", cgroup.Limits{})
	if err != nil {
		t.Skipf("SKIPPED: the test needs cgroups: %v", err)
	}
	t.Cleanup(func() {
		if err := owner.Close(t.Context()); err != nil && !errors.Is(err, t.Context().Err()) {
			t.Errorf("close the group: got %v, want no error", err)
		}
	})
	group, err := owner.Group.Group("attempt", cgroup.Limits{Memory: 128 << 20, Processes: 100})
	if err != nil {
		t.Fatal(err)
	}
	a := start(t, host, dir, container.Options{Cgroup: group.Path()})
	out, _ := a.run(`perl -e 'for (1..400) { $p = fork; defined $p or die "fork $_: $!"; $p or sleep 1000 }' 2>&1`)
	if want := "Resource temporarily unavailable"; !contains(out, want) {
		t.Errorf("400 processes: got %q, want %q", out, want)
	}
	out, _ = a.run(`for u in 1 2 3 4; do setpriv --reuid $u --clear-groups perl -e '
		for (1..100) { $p = fork; defined $p or die "fork: $!"; $p or sleep 1000 }' || exit 1; done 2>&1`)
	if want := "Resource temporarily unavailable"; !contains(out, want) {
		t.Errorf("400 processes of four users: got %q, want %q", out, want)
	}
	a.same("after the fork bombs", "set -- /proc/[0-9]*; echo $#", "2") // with the shell
	_, status := a.run(`exec perl -e '$x = "a" x (600 << 20)'`)
	if want := (guest.Status{Code: -1, Signal: syscall.SIGKILL}); status != want {
		t.Errorf("600 MB: got %v, want %v", status, want)
	}
	a.same("after the lack of memory", "echo yes", "yes")
	counters := group.Counters() // version 1 forgets them with the container
	a.close()
	if counters.OOMKills == 0 || counters.FailedFork == 0 {
		t.Errorf("got counters %+v, want both limits counted", counters)
	}
}
