package container_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"slipway/runner/sandbox/container"
	"slipway/runner/sandbox/sandboxtest"
)

// An ordinary user has sandboxes, too: with a skeleton, a tmpfs, and no cgroup.
func TestTheSandboxOfAnOrdinaryUser(t *testing.T) {
	if !sandboxtest.Rootless(t) {
		return
	}
	host, dir := newHost(t)
	before := leftovers(t, dir)
	a := start(t, host, dir, container.Options{Processes: 150})
	if !a.disk.InMemory() {
		t.Error("got a disk in a file, want one in memory")
	}
	t.Run("workspace", func(t *testing.T) { a.within(t).testWorkspace() })
	t.Run("packages", func(t *testing.T) { a.within(t).testAddedPackage() })
	t.Run("hostile", func(t *testing.T) { a.within(t).testHostile() })
	t.Run("full disk", func(t *testing.T) { a.within(t).testFullDisk() })
	t.Run("files of the machine", func(t *testing.T) {
		a := a.within(t)
		a.check("writes anywhere", "mkdir -p /var/www && touch /usr/local/bin/x /usr/lib/x /var/www/x /etc/x", true)
		a.check("deletes a program of the machine", "rm /usr/bin/tac && ! test -e /usr/bin/tac", true)
		a.check("changes a file of the machine", "echo >> /usr/share/common-licenses/BSD", false)
	})
	t.Run("processes", func(t *testing.T) {
		a := a.within(t)
		a.check("400 processes", `perl -e 'for (1..400) { $p = fork; defined $p or die; $p or sleep 1000 }'`, false)
		a.check("400 processes of four users", `for u in 1 2 3 4; do setpriv --reuid $u --clear-groups perl -e '
			for (1..100) { $p = fork; defined $p or die; $p or sleep 1000 }' || exit 1; done`, false)
		a.same("after the fork bombs", "set -- /proc/[0-9]*; echo $#", "2")
	})
	a.close()
	if after := leftovers(t, dir); after != before {
		t.Errorf("after Close: got %s, want %s", after, before)
	}
}

// In a container with a masked /proc the kernel lets no user namespace mount one that shows more.
func TestAMaskedProcIsReported(t *testing.T) {
	if !sandboxtest.Rootless(t) {
		return
	}
	if err := unix.Mount("/dev/null", "/proc/interrupts", "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	host, dir := newHost(t)
	before := leftovers(t, dir)
	err := host.Try(t.Context())
	if err == nil || !contains(err.Error(), "proc") || !contains(err.Error(), "operation not permitted") {
		t.Errorf("got %v, want an error about /proc", err)
	}
	if after := leftovers(t, dir); after != before {
		t.Errorf("after Try: got %s, want %s", after, before)
	}
}
