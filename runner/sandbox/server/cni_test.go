package server

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	networks "slipway/runner/sandbox/network"
)

// inOwnNetwork calls f in a network namespace of its own.
func inOwnNetwork(t *testing.T, f func()) {
	t.Helper()
	if _, err := exec.LookPath("iptables-restore"); err != nil {
		t.Skip("SKIPPED: iptables-restore, which is absent (Debian: apt-get install iptables)")
	}
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: needs root")
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // not unlocked: the thread ends with its namespace
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
}

// rulesOfBridge returns the rules of FORWARD and POSTROUTING in their order.
func rulesOfBridge(t *testing.T) []string {
	t.Helper()
	saved, err := exec.Command("iptables-save").Output()
	if err != nil {
		t.Errorf("iptables-save: %v", err)
	}
	var rules []string
	for line := range strings.Lines(string(saved)) {
		if rule, ok := strings.CutPrefix(strings.TrimSpace(line), "-A "); ok {
			rules = append(rules, rule)
		}
	}
	return rules
}

func iptables(t *testing.T, rule string) {
	t.Helper()
	if out, err := exec.Command("iptables", strings.Fields(rule)...).CombinedOutput(); err != nil {
		t.Errorf("iptables %s: %v: %s", rule, err, out)
	}
}

// The rules stand above those of a firewall, in their order, also after a firewall has removed one of
// them and added its own.
func TestRulesOfTheBridgeAreCompletedInOrder(t *testing.T) {
	const foreign = "FORWARD -j DROP"
	want := append(append(append([]string{}, bridgeRules()["filter"]...), foreign), bridgeRules()["nat"]...)
	inOwnNetwork(t, func() {
		iptables(t, "-A "+foreign)
		for _, change := range []func(){
			func() {},
			func() {},
			func() { iptables(t, "-D "+bridgeRules()["filter"][0]) },
			func() { iptables(t, "-t nat -D "+bridgeRules()["nat"][0]) },
		} {
			change()
			if err := ensureRules(t.Context()); err != nil {
				t.Error(err)
				return
			}
			if diff := cmp.Diff(want, rulesOfBridge(t)); diff != "" {
				t.Errorf("rules (-want +got):\n%s", diff)
			}
		}
	})
}

func TestCompleteRulesNeedNoChange(t *testing.T) {
	saved := "*filter\n-A " + strings.Join(bridgeRules()["filter"], "\n-A ") + "\nCOMMIT\n" +
		"*nat\n-A " + bridgeRules()["nat"][0] + "\nCOMMIT\n"
	if got := missingRules(networks.ParseTables(saved)); len(got) != 0 {
		t.Errorf("lines of iptables-restore: got %q, want none", got)
	}
}
