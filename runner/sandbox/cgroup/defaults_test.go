package cgroup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDecideFitsTheMachine(t *testing.T) {
	for name, c := range map[string]struct {
		machine  Machine
		settings Settings
		build    Limits
		all      Limits
		builder  Limits
	}{
		"24 GB, two builds": {
			machine: Machine{Memory: 24e9, CPUs: 8, Threads: 200_000}, settings: Settings{Builds: 2},
			build:   Limits{Memory: 9e9, Processes: 4096, Weight: 50},
			all:     Limits{Memory: 18e9, Processes: 8192, Weight: 50},
			builder: Limits{Memory: 6e9, Processes: 4096},
		},
		"1 GB": {
			machine: Machine{Memory: 1e9, CPUs: 1, Threads: 8000}, settings: Settings{Builds: 2},
			build:   Limits{Memory: 256e6, Processes: 2000, Weight: 50},
			all:     Limits{Memory: 512e6, Processes: 4000, Weight: 50},
			builder: Limits{Memory: 512e6, Processes: 4096},
		},
		"more builds than memory": {
			machine: Machine{Memory: 2e9, CPUs: 2, Threads: 1000}, settings: Settings{Builds: 50},
			build:   Limits{Memory: 256e6, Processes: 256, Weight: 50},
			all:     Limits{Memory: 50 * 256e6, Processes: 50 * 256, Weight: 50},
			builder: Limits{Memory: 512e6, Processes: 4096},
		},
		"nothing known": {
			build:   Limits{Processes: 4096, Weight: 50},
			all:     Limits{Processes: 4096, Weight: 50},
			builder: Limits{Processes: 4096},
		},
		"one of several builders": {
			machine: Machine{Memory: 24e9, CPUs: 8, Threads: 200_000}, settings: Settings{Builds: 4, Own: 2},
			build:   Limits{Memory: 4500e6, Processes: 4096, Weight: 50},
			all:     Limits{Memory: 9e9, Processes: 8192, Weight: 50},
			builder: Limits{Memory: 6e9, Processes: 4096},
		},
		"set": {
			machine:  Machine{Memory: 24e9, CPUs: 8, Threads: 200_000},
			settings: Settings{Memory: 4e9, Processes: 100, CPUs: 1.5, Builds: 2},
			build:    Limits{Memory: 4e9, Processes: 100, CPUs: 1.5, Weight: 50},
			all:      Limits{Memory: 8e9, Processes: 200, CPUs: 3, Weight: 50},
			builder:  Limits{Memory: 6e9, Processes: 4096},
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := Decide(c.machine, c.settings)
			if diff := cmp.Diff(c.build, d.Build); diff != "" {
				t.Errorf("of a build (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.all, d.All); diff != "" {
				t.Errorf("of all builds (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.builder, d.Builder); diff != "" {
				t.Errorf("of the builder (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecideExplainsItself(t *testing.T) {
	d := Decide(Machine{Memory: 24e9, CPUs: 8, Threads: 200_000}, Settings{Builds: 2})
	want := []string{
		"memory 9 GB: the machine's 24 GB without a reserve of 6 GB, for 2 builds at once",
		"4096 processes: the default, at most half of the kernel's 200000 for all builds",
		"all 8 CPUs: SLIPWAY_BUILD_CPUS is not set",
	}
	if diff := cmp.Diff(want, d.Reasons); diff != "" {
		t.Errorf("by default (-want +got):\n%s", diff)
	}
	d = Decide(Machine{}, Settings{Memory: 4e9, Processes: 100, CPUs: 1.5})
	want = []string{
		"memory 4 GB: SLIPWAY_BUILD_MEMORY",
		"100 processes: SLIPWAY_BUILD_PROCESSES",
		"1.5 CPUs: SLIPWAY_BUILD_CPUS",
	}
	if diff := cmp.Diff(want, d.Reasons); diff != "" {
		t.Errorf("set (-want +got):\n%s", diff)
	}
	if d := Decide(Machine{}, Settings{}); !strings.Contains(strings.Join(d.Reasons, "; "), "memory is unknown") {
		t.Errorf("nothing known: got %q, want that the memory is unknown", d.Reasons)
	}
}

func TestTheMemoryOfAMachineIsRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "meminfo")
	if err := os.WriteFile(file, []byte("MemTotal:       24684000 kB\nMemFree:  1 kB\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := readTotal(file), int64(24684000*1024); got != want {
		t.Errorf("got %d, want %d", got, want)
	}
	if got := readTotal(file + ".none"); got != 0 {
		t.Errorf("no file: got %d, want 0", got)
	}
}
