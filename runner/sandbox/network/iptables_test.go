package network

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway/config/must"
)

// Other programs change the machine's rules at the same time. A namespace of ours has one writer.
func TestOnlyChangesOfTheMachinesRulesTakeTheLock(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\necho \"lock ${XTABLES_LOCKFILE:-of the machine}, arguments $*\"\nexit 1\n"
	must.Succeed(t, os.WriteFile(filepath.Join(dir, "iptables-restore"), []byte(script), 0o755))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	for name, c := range map[string]struct {
		run  func(ctx context.Context) error
		want string
	}{
		"the machine": {
			func(ctx context.Context) error { return restoreOnHost(ctx, ipv4, "*nat\nCOMMIT\n") },
			"lock of the machine, arguments --noflush --wait 5",
		},
		"a namespace": {
			func(ctx context.Context) error { return restore(ctx, ipv4, "*nat\nCOMMIT\n") },
			"lock /dev/null, arguments",
		},
	} {
		if err := c.run(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
}
