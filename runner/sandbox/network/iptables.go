package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// A loading is a running iptables-restore.
type loading struct {
	cmd    *exec.Cmd
	output bytes.Buffer
}

// program returns a program of iptables for an IP version, for example "ip6tables-restore".
func program(version family, suffix string) string {
	if version == ipv6 {
		return "ip6tables" + suffix
	}
	return "iptables" + suffix
}

// startRestore starts iptables-restore in the network namespace of this thread, which Slipway made. The
// caller must wait.
func startRestore(ctx context.Context, version family, rules string, args ...string) (*loading, error) {
	l := newLoading(ctx, version, rules, args...)
	// Old versions lock a file of the machine that an ordinary user cannot open. The lock is not needed,
	// because each of our namespaces has one writer.
	l.cmd.Env = append(os.Environ(), "XTABLES_LOCKFILE=/dev/null")
	if err := l.cmd.Start(); err != nil {
		return nil, withInstallHint(err)
	}
	return l, nil
}

// lockTime is the time in seconds to wait for the lock of the machine's rules.
const lockTime = "5"

// restoreOnHost adds rules to those of the machine. Other programs change them, too. Old versions replace a
// whole table, so without the lock the rules of another program could get lost.
func restoreOnHost(ctx context.Context, version family, rules string) error {
	l := newLoading(ctx, version, rules, "--noflush", "--wait", lockTime)
	if err := l.cmd.Start(); err != nil {
		return withInstallHint(err)
	}
	return l.wait()
}

func newLoading(ctx context.Context, version family, rules string, args ...string) *loading {
	l := &loading{cmd: exec.CommandContext(ctx, program(version, "-restore"), args...)} //nolint:gosec // constants
	l.cmd.Stdin = strings.NewReader(rules)
	l.cmd.Stdout, l.cmd.Stderr = &l.output, &l.output
	return l
}

func (l *loading) wait() error {
	if err := l.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w: %s", l.cmd.Path, err, strings.TrimSpace(l.output.String()))
	}
	return nil
}

// restore runs iptables-restore in the network namespace of this thread.
func restore(ctx context.Context, version family, rules string, args ...string) error {
	l, err := startRestore(ctx, version, rules, args...)
	if err != nil {
		return err
	}
	return l.wait()
}

// save returns the output of iptables-save in the network namespace of this thread.
func save(ctx context.Context, version family) (string, error) {
	out, err := exec.CommandContext(ctx, program(version, "-save")).Output() //nolint:gosec // constants
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", fmt.Errorf("%s: %w: %s", program(version, "-save"), err, strings.TrimSpace(string(exit.Stderr)))
	}
	if err != nil {
		return "", withInstallHint(err)
	}
	return string(out), nil
}

func withInstallHint(err error) error {
	return fmt.Errorf("%w: install iptables (Debian: apt-get install iptables)", err)
}
