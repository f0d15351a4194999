package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/sys/user"
)

func TestPlanNetwork(t *testing.T) {
	all := NetworkFacts{PluginDir: "/usr/lib/cni", IPTables: true, Slirp: "/usr/bin/slirp4netns", Privilege: true}
	noCNI := all
	noCNI.PluginDir = ""
	rootless := all
	rootless.Privilege = false
	noTables := all
	noTables.IPTables, noTables.Slirp = false, ""
	cases := []struct {
		asked string
		facts NetworkFacts
		want  string // mode, or empty = an error
		why   string
	}{
		{NetworkAuto, all, NetworkCNI, "/usr/lib/cni"},
		{NetworkAuto, noCNI, NetworkSlirp, "apt-get install containernetworking-plugins"},
		{NetworkAuto, rootless, NetworkSlirp, "needs root"},
		{NetworkAuto, noTables, NetworkNone, "apt-get install iptables"},
		{NetworkAuto, NetworkFacts{NoSlirp: "slirp4netns is absent"}, NetworkNone, "slirp4netns is absent"},
		{NetworkStep, all, NetworkCNI, "/usr/lib/cni"},
		{NetworkStep, NetworkFacts{}, NetworkHost, "the network of the step's container; no CNI bridge"},
		{NetworkCNI, noCNI, "", ""},
		{NetworkSlirp, NetworkFacts{}, "", ""},
		{NetworkNone, all, NetworkNone, "requested"},
		{NetworkHost, all, NetworkHost, "requested"},
		{"bridge", all, "", ""},
	}
	for _, c := range cases {
		plan, err := PlanNetwork(c.asked, c.facts)
		if (err == nil) != (c.want != "") {
			t.Errorf("PlanNetwork(%s, %+v): got error %v, want mode %q", c.asked, c.facts, err, c.want)
		}
		if plan.Mode != c.want {
			t.Errorf("PlanNetwork(%s, %+v): got mode %q, want %q", c.asked, c.facts, plan.Mode, c.want)
		}
		if !strings.Contains(plan.Reason, c.why) {
			t.Errorf("PlanNetwork(%s, %+v): got reason %q, want %q in it", c.asked, c.facts, plan.Reason, c.why)
		}
	}
	if got := all.Without(NetworkCNI).Without(NetworkSlirp); got.PluginDir != "" || got.Slirp != "" {
		t.Errorf("without a network: got %+v, want no plugin directory and no slirp", got)
	}
}

func TestIDMapArgs(t *testing.T) {
	ids := []user.SubID{{SubID: 5, Count: 10}, {SubID: 100000, Count: 65536}}
	want := []string{"42", "0", "1000", "1", "1", "100000", "65535"}
	if diff := cmp.Diff(want, idMapArgs(42, 1000, widest(ids))); diff != "" {
		t.Errorf("arguments for the ID map (-want +got):\n%s", diff)
	}
}

func TestProbe(t *testing.T) {
	began := time.Now()
	findings := Probe(t.Context(), ProbeOptions{State: t.TempDir()})
	if took := time.Since(began); took > 10*time.Second { // a second is usual; a loaded machine needs longer
		t.Errorf("got findings after %s, want at most 10s", took)
	}
	var names []string
	for _, f := range findings {
		names = append(names, f.Name)
		if f.Detail == "" {
			t.Errorf("finding %+v: got no detail, want one", f)
		}
		if f.OK == (f.Fix != "") {
			t.Errorf("finding %+v: got OK %t, fix %q, want a fix only if it is not OK", f, f.OK, f.Fix)
		}
	}
	if diff := cmp.Diff([]string{"mode", "runtime", "network", "state"}, names); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	if f := probeRuntime(t.Context(), "no-such-runtime"); f.OK {
		t.Errorf("unknown runtime: got %+v, want it not OK", f)
	}
	if f := probeNetwork("bridge"); f.OK {
		t.Errorf("unknown network: got %+v, want it not OK", f)
	}
	if f := probeState(filepath.Join(t.TempDir(), "new")); !f.OK {
		t.Errorf("new state directory: got %+v, want it OK", f)
	}
	state := t.TempDir()
	unlock, err := LockState(state, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if f := probeState(state); !f.OK || !strings.Contains(f.Detail, fmt.Sprint(os.Getpid())) {
		t.Errorf("locked state directory: got %+v, want it OK with the process's ID", f)
	}
}
