package confine_test

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"slipway/config/must"
)

// levels returns a step for each level that this machine has.
func levels(t *testing.T) map[string]step {
	t.Helper()
	return map[string]step{"another user": {}, "Landlock": {UID: ordinary}}
}

// onLevels runs a hook at each level.
func onLevels(t *testing.T, s step, check func(t *testing.T, r result)) {
	t.Helper()
	for level, l := range levels(t) {
		t.Run(level, func(t *testing.T) {
			s.UID = l.UID
			r := s.run(t)
			if !strings.Contains(r.Level, level) {
				t.Errorf("level: got %q, want %q in it", r.Level, level)
			}
			if len(r.Left) > 0 {
				t.Errorf("processes that are left: got %d, want none", len(r.Left))
			}
			check(t, r)
		})
	}
}

// hostile tries to reach the step. Each attack that succeeds prints a line with REACHED.
const hostile = `#!/bin/bash
exec 2>&1
reached() { echo "REACHED: $1"; }
for name in environ mem maps auxv stack; do
	head -c 100 "/proc/$STEP/$name" >/dev/null && reached "$name of the step"
done
ls "/proc/$STEP/fd/" && reached "descriptors of the step"
cat /proc/$STEP/fd/[0-9]* && reached "open files of the step"
cat "/proc/$STEP/root$OWN/secret" && reached "the step's root"
ls "/proc/$STEP/cwd/" && reached "the step's directory"
cat "$OWN/secret" && reached "a private file of the step"
ls "$OWN/" && reached "the step's list of files"
kill -0 "$STEP" && reached "the step, by a signal"
for ((id = PPID; id < PPID + 40; id++)); do
	[ $id != $$ ] && kill -0 $id 2>/dev/null && reached "process $id, by a signal"
done
./probe connect @slipway-confine-test && reached "an abstract socket of the step"
if [ $(id -u) = 61234 ]; then # the same user can connect to a socket if it knows the path
	grep private-7c1f /proc/net/unix && reached "the path of the step's socket"
else
	./probe connect "$OWN/private-7c1f/socket" && reached "a socket of the step"
fi
echo x > /etc/slipway-confine-test && reached "a file of the machine"
echo "descriptors:$(./probe descriptors)"
echo "environment:$(env | cut -d= -f1 | sort | tr '\n' ' ')"
grep -E '^(Groups|CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs)' /proc/self/status
true
`

func TestAHookDoesNotReachItsStep(t *testing.T) {
	onLevels(t, step{Hook: hostile}, func(t *testing.T, r result) {
		if r.Error != "" {
			t.Errorf("hook: got %s, want success", r.Error)
		}
		if strings.Contains(r.Output, "REACHED") {
			t.Error("a hook reached its step")
		}
		if strings.Contains(r.Output, canary) {
			t.Error("a hook got a secret of its step")
		}
		for _, want := range []string{
			"descriptors: 0 1 2\n",
			"environment:HOME OWN PATH PWD SHLVL STEP TMPDIR _ \n",
		} {
			if !strings.Contains(r.Output, want) {
				t.Errorf("output: got no %q", want)
			}
		}
	})
}

// The counter-test: without a sandbox the same hook reaches its step.
func TestAnUnconfinedHookReachesItsStep(t *testing.T) {
	r := step{UID: ordinary, Hook: hostile, Unconfined: true}.run(t)
	for _, want := range []string{
		"REACHED: a private file of the step", "REACHED: the step's list of files", "REACHED: the step, by a signal",
		"REACHED: an abstract socket of the step", "REACHED: the path of the step's socket",
	} {
		if !strings.Contains(r.Output, want) {
			t.Errorf("output: got no %q", want)
		}
	}
}

// A hook that runs as another user has no groups, no capabilities and no way to get some.
func TestAHookOfAnotherUserHasNoPrivileges(t *testing.T) {
	r := step{Hook: hostile}.run(t)
	const none = "0000000000000000"
	for _, want := range []string{
		"Groups:\t \n", "CapInh:\t" + none, "CapPrm:\t" + none, "CapEff:\t" + none, "CapBnd:\t" + none, "CapAmb:\t" + none,
		"NoNewPrivs:\t1",
	} {
		if !strings.Contains(r.Output, want) {
			t.Errorf("status of the hook: got no %q", want)
		}
	}
}

// The workspace belongs to the hook. The step can read and remove the hook's files.
func TestAHookChangesItsWorkspace(t *testing.T) {
	hook := "#!/bin/sh -e\numask 077\nmkdir private other\necho 'by the hook' > private/made\n" +
		"chmod 0 private/made\nchmod 0600 private/made\nmv other private/\nln -s /etc/passwd link\nrm probe\nmktemp\n"
	onLevels(t, step{Hook: hook}, func(t *testing.T, r result) {
		if r.Error != "" {
			t.Errorf("hook: got %s, want success", r.Error)
		}
		if r.Read != "by the hook\n" {
			t.Errorf("file of the hook: got %q, want %q", r.Read, "by the hook\n")
		}
		if r.Remove != "" {
			t.Errorf("removal of the workspace: got %s, want success", r.Remove)
		}
	})
}

func TestTheEndOfAHook(t *testing.T) {
	for name, tt := range map[string]struct {
		hook, want string
		code       int
	}{
		"success":                    {"#!/bin/sh\n", "", 0},
		"an exit code":               {"#!/bin/sh\nexit 3\n", "build hook hooks/build ended with exit code 3", 3},
		"a signal":                   {"#!/bin/sh\nkill -9 $$\n", "build hook hooks/build was killed (signal: killed)", -1},
		"no program in the 1st line": {"#!/no/such/program\n", "its first line names a program", -1},
		"no first line":              {"echo\n", "its first line names a program", -1},
		"a parent that is killed":    {"#!/bin/sh\nkill -9 $PPID\nexit 4\n", "ended with exit code 4", 4},
	} {
		t.Run(name, func(t *testing.T) {
			onLevels(t, step{Hook: tt.hook}, func(t *testing.T, r result) {
				if !strings.Contains(r.Error, tt.want) {
					t.Errorf("error: got %q, want %q in it", r.Error, tt.want)
				}
				if r.Error != "" && tt.want == "" {
					t.Errorf("error: got %q, want none", r.Error)
				}
				if r.Code != tt.code {
					t.Errorf("exit code: got %d, want %d", r.Code, tt.code)
				}
			})
		})
	}
}

// A hook leaves 200 processes, in sessions of their own, which hold its output open. None is left, and
// the step does not wait for them.
func TestWhatAHookLeavesIsKilled(t *testing.T) {
	hook := "#!/bin/bash\nfor i in {1..100}; do sleep " + mark + " & setsid sleep " + mark + " & done\n" +
		"(trap '' TERM HUP; setsid -f sleep " + mark + ")\nexit 5\n"
	onLevels(t, step{Hook: hook}, func(t *testing.T, r result) {
		if r.Code != 5 {
			t.Errorf("exit code: got %d (%s), want 5", r.Code, r.Error)
		}
		if r.Took > 8*time.Second {
			t.Errorf("time: got %s, want less than 8s", r.Took)
		}
	})
}

// Processes that a hook leaves try to kill all threads of the guard.
func TestAHookCannotKillItsGuard(t *testing.T) {
	hook := "#!/bin/bash\nfor i in {1..8}; do\n(exec 2>/dev/null; for ((n = 0; n < 3000; n++)); do\n" +
		"for ((id = PPID; id < PPID + 30; id++)); do [ $id = $$ ] || [ $id = $BASHPID ] || kill -9 $id; done\n" +
		"done; exec sleep " + mark + ") &\ndone\nsleep 0.3\nexit 6\n"
	onLevels(t, step{Hook: hook}, func(t *testing.T, r result) {
		if r.Code != 6 {
			t.Errorf("exit code: got %d (%s), want 6", r.Code, r.Error)
		}
	})
}

// A guard ends with its step, even if the step is killed, and so do the hook's processes.
func TestTheHookEndsWithItsStep(t *testing.T) {
	hook := "#!/bin/bash\nfor i in {1..20}; do setsid sleep " + mark + " & done\ntouch started\nexec sleep " + mark + "\n"
	for level, s := range levels(t) {
		t.Run(level, func(t *testing.T) {
			s.Hook, s.Crash = hook, true
			if out, err := s.output(t); err == nil {
				t.Fatalf("step: got success (%s), want that it was killed", out)
			}
			for deadline := time.Now().Add(20 * time.Second); ; runtime.Gosched() {
				left, err := marked()
				must.Succeed(t, err)
				if len(left) == 0 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("processes that are left after 20s: got %d, want none", len(left))
				}
			}
		})
	}
}

// If the kernel kills the guard, because it lacks memory, the processes of the hook end, too.
func TestTheProcessesOfALostGuardAreKilled(t *testing.T) {
	hook := "#!/bin/bash\nfor i in {1..20}; do setsid sleep " + mark + " & done\ntouch started\nexec sleep " + mark + "\n"
	r := step{Hook: hook, KillGuard: true}.run(t)
	if !strings.Contains(r.Error, "its guard ended early: signal: killed") {
		t.Errorf("error: got %q, want that the guard ended early", r.Error)
	}
	if len(r.Left) > 0 {
		t.Errorf("processes that are left: got %d, want none", len(r.Left))
	}
}

// When the attempt is canceled, a hook has the grace time to clean up. What it leaves has the same time.
func TestAStoppedHookCleansUp(t *testing.T) {
	hook := "#!/bin/bash\ntrap 'echo cleaned up; exit' TERM\nsleep " + mark + " & wait\n"
	s := step{Hook: hook, StopAfter: 500 * time.Millisecond, Grace: 20 * time.Second}
	onLevels(t, s, func(t *testing.T, r result) {
		if r.Error != "build hook build: context canceled" {
			t.Errorf("error: got %q, want that the context was canceled", r.Error)
		}
		if !strings.Contains(r.Output, "cleaned up") {
			t.Errorf("output: got %q, want that the hook cleaned up", r.Output)
		}
		if r.Took > 10*time.Second {
			t.Errorf("time: got %s, want the end of the hook and not of the grace time", r.Took)
		}
	})
}

func TestAStubbornHookIsKilled(t *testing.T) {
	hook := "#!/bin/bash\ntrap '' TERM\nwhile true; do sleep " + mark + "; done\n"
	s := step{Hook: hook, StopAfter: 500 * time.Millisecond, Grace: 500 * time.Millisecond}
	onLevels(t, s, func(t *testing.T, r result) {
		if r.Error != "build hook build: context canceled" {
			t.Errorf("error: got %q, want that the context was canceled", r.Error)
		}
	})
}

// The limit is on the hook alone: with one on the step, the step could not start a process any more.
func TestAHookHasALimitOfProcesses(t *testing.T) {
	hook := "#!/bin/sh\nfor i in $(seq 100); do sleep " + mark + " & done\n"
	onLevels(t, step{Hook: hook, Processes: 50}, func(t *testing.T, r result) {
		if !strings.Contains(r.Output, "Cannot fork") {
			t.Errorf("output: got %q, want that the limit was reached", r.Output)
		}
	})
}
