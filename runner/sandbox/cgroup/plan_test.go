package cgroup

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// mounts of several machines, as in /proc/self/mountinfo.
const (
	mountsV1 = `30 24 0:26 / /sys/fs/cgroup/systemd rw,nosuid - cgroup cgroup rw,xattr,name=systemd
31 24 0:27 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory
32 24 0:28 / /sys/fs/cgroup/pids rw,nosuid - cgroup cgroup rw,pids
33 24 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct
34 24 0:30 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw
`
	mountsContainer = `31 24 0:27 /docker/1f /sys/fs/cgroup/memory ro,nosuid master:9 - cgroup cgroup rw,memory
32 24 0:28 /docker/1f /sys/fs/cgroup/pids ro,nosuid master:10 - cgroup cgroup rw,pids
33 24 0:29 /docker/1f /sys/fs/cgroup/cpu ro,nosuid master:11 - cgroup cgroup rw,cpu
`
	mountsPartial = `31 24 0:27 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory
34 24 0:30 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw
`
	mountsNone = `24 1 0:20 / /sys rw - sysfs sysfs rw
`
)

func TestPlanChoosesTheHierarchies(t *testing.T) {
	tree, err := plan(strings.NewReader(mountsV1))
	if err != nil {
		t.Fatal(err)
	}
	if tree.Version() != 1 {
		t.Errorf("got version %d, want 1", tree.Version())
	}
	want := []string{"/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/cpu,cpuacct"}
	if diff := cmp.Diff(want, tree.dirs); diff != "" {
		t.Errorf("directories (-want +got):\n%s", diff)
	}
	if len(tree.all) != 5 {
		t.Errorf("got all hierarchies %q, want 5", tree.all)
	}
	g := Group{tree: tree, path: "/slipway/a"}
	if got, want := g.dir("cpu"), "/sys/fs/cgroup/cpu,cpuacct/slipway/a"; got != want {
		t.Errorf("got directory %s, want %s", got, want)
	}
}

func TestPlanSaysWhyLimitsAreNotHeld(t *testing.T) {
	unified := func(options string) string {
		return "24 1 0:20 / " + t.TempDir() + " " + options + " - cgroup2 cgroup2 rw\n"
	}
	for name, c := range map[string]struct{ mounts, want string }{
		"Docker's default":     {mountsContainer, "/sys/fs/cgroup/memory is mounted read-only"},
		"no controllers":       {mountsPartial, "no cgroups of version 1 for pids and cpu are mounted"},
		"nothing":              {mountsNone, "no cgroups are mounted"},
		"version 2, read-only": {unified("ro,nosuid"), "is mounted read-only"},
		"version 2, no files":  {unified("rw"), "the controllers cannot be read"},
		"not a mountinfo":      {"x\n", "the mounts cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := plan(strings.NewReader(c.mounts))
			var held *NotHeldError
			if !errors.As(err, &held) {
				t.Fatalf("got %T %v, want a NotHeldError", err, err)
			}
			if !strings.Contains(err.Error(), "cannot enforce limits: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, want %q in it", err, c.want)
			}
		})
	}
}

func TestSettingsAreWrittenInTheKernelsForm(t *testing.T) {
	l := Limits{Memory: 4e9, Processes: 100, CPUs: 1.5, Weight: 50}
	for name, c := range map[string]struct {
		version int
		limits  Limits
		want    string
	}{
		"version 1": {1, l, "memory.limit_in_bytes=4000000000 memory.memsw.limit_in_bytes=4000000000? " +
			"pids.max=100 cpu.cfs_period_us=100000 cpu.cfs_quota_us=150000 cpu.shares=512"},
		"version 2":               {2, l, "memory.max=4000000000 memory.swap.max=0? pids.max=100 cpu.max=150000 100000 cpu.weight=50"},
		"none, version 1":         {1, Limits{}, ""},
		"none, version 2":         {2, Limits{}, ""},
		"too little, version 1":   {1, Limits{CPUs: 0.0001}, "cpu.cfs_period_us=100000 cpu.cfs_quota_us=1000"},
		"least weight, version 1": {1, Limits{Weight: 1}, "cpu.shares=10"},
	} {
		t.Run(name, func(t *testing.T) {
			var all []string
			for _, s := range settings(c.version, c.limits) {
				text := s.file + "=" + s.value
				if s.optional {
					text += "?"
				}
				all = append(all, text)
			}
			if got := strings.Join(all, " "); got != c.want {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestReasonNamesLimitAndSetting(t *testing.T) {
	limits := Limits{Memory: 4e9, Processes: 4096}
	for name, c := range map[string]struct {
		counters Counters
		limits   Limits
		want     string
	}{
		"nothing": {Counters{}, limits, ""},
		"memory": {Counters{OOMKills: 1, FailedFork: 2}, limits,
			"killed: out of memory, limit 4 GB: SLIPWAY_BUILD_MEMORY"},
		"the machine's memory": {Counters{OOMKills: 1}, Limits{}, "killed: out of memory"},
		"processes": {Counters{FailedFork: 2}, limits,
			"fork failed, limit 4096 processes: SLIPWAY_BUILD_PROCESSES"},
		"another's processes": {Counters{FailedFork: 2}, Limits{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.counters.Reason(c.limits); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestSinceCountsARemovedGroupFromZero(t *testing.T) {
	got := Counters{OOMKills: 3, FailedFork: 1}.Since(Counters{OOMKills: 1, FailedFork: 5})
	if want := (Counters{OOMKills: 2, FailedFork: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestLimitsAsText(t *testing.T) {
	got := []string{
		Limits{}.String(),
		Limits{Memory: 4e9, Processes: 4096, CPUs: 1.5}.String(),
		Limits{Memory: 1234567890}.String(),
	}
	want := []string{"no limits", "memory 4 GB, 4096 processes, 1.5 CPUs", "memory 1.235 GB"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
