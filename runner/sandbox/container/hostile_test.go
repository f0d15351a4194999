package container_test

import (
	"net"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// testHostile runs the first attacks of a hostile hook. want is the success of the script.
func (a *attempt) testHostile() {
	a.listenOutside(
		"/run/dbus/system_bus_socket", "/run/docker.sock", "/run/containerd/containerd.sock", "@slipway-canary",
	)
	a.openSecret()
	for name, tc := range map[string]struct {
		script string
		want   bool
	}{
		"sees processes of others":  {`test $(ls -d /proc/[0-9]* | wc -l) -gt 6`, false},
		"sees files of the machine": {`find /home /root /run /opt /srv /media /mnt /boot -type f -not -name x | grep .`, false},
		"sees variable files of the machine": {`find /var -type f -not -path "/var/lib/dpkg/*" -not -path "/var/www/*" -not -path "/var/tmp/y" \
			-not -name .empty -not -path "/var/l*/*slipway-test*" -not -path "/var/log/*" -not -path "/var/cache/*" \
			-not -path "/var/lib/apt/*" -not -path "/var/lib/systemd/*" | grep .`, false},
		"sees keys and passwords":         {`ls /etc/ssh /etc/ssl/private /etc/machine-id /etc/gitconfig /etc/docker`, false},
		"sees password hashes":            {`grep -E ':[$][0-9a-z]+[$]' /etc/shadow /etc/gshadow`, false},
		"sees people's accounts":          {`awk -F: '$3 >= 1000 && $3 != 65534' /etc/passwd /etc/group | grep .`, false},
		"sees /sys":                       {`ls -A /sys | grep .`, false},
		"sees cgroups":                    {`grep cgroup /proc/self/mounts`, false},
		"mounts":                          {`mount -t tmpfs t /mnt`, false},
		"mounts /proc again":              {`mount -t proc p /mnt`, false},
		"mounts the machine's device":     {`for d in /dev/*; do test -b $d && exit 0; done; exit 1`, false},
		"unmounts":                        {`umount /usr || umount -l /proc/sys || umount /proc/kcore`, false},
		"makes writable again":            {`mount -o remount,rw,bind /.slipway/init || mount -o remount,rw /proc/sys`, false},
		"writes the program of process 1": {`echo >> /.slipway/init || : > /.slipway/init`, false},
		"makes a user namespace":          {`unshare -Ur true`, false},
		"makes a mount namespace":         {`unshare -m true`, false},
		"makes a network namespace":       {`unshare -n true`, false},
		"makes a cgroup namespace":        {`unshare -C true`, false},
		"enters a namespace of process 1": {`nsenter -t 1 -m true || nsenter -t 1 -n true || nsenter -t 1 -U true`, false},
		"makes a device":                  {`mknod /root/d b 7 0 || mknod /root/c c 1 1`, false},
		"leaves with chroot": {`mkdir -p /tmp/c && perl -e 'chroot "/tmp/c"; chdir "../../../../../../.." for 1..99; chroot ".";
			exec "/bin/ls", "/home"' | grep .`, false},
		"changes the name of the machine":      {`hostname -F /etc/hostname && echo x > /proc/sys/kernel/hostname`, false},
		"writes a kernel setting":              {`echo x > /proc/sys/kernel/core_pattern`, false},
		"presses the system request key":       {`echo h > /proc/sysrq-trigger`, false},
		"reads kernel memory":                  {`head -c1 /proc/kcore | grep .`, false},
		"reads kernel messages":                {`dmesg`, false},
		"reads keys of the kernel":             {`cat /proc/keys | grep .`, false},
		"loads a module":                       {`modprobe loop || insmod /tmp/x`, false},
		"sets the clock":                       {`date -s 2001-01-01`, false},
		"raises its priority":                  {`nice -n -5 sh -c 'test $(nice) -lt 0'`, false},
		"makes a raw socket":                   {`perl -MSocket -e 'socket(S,AF_INET,SOCK_RAW,1) or die $!'`, false},
		"makes a packet socket":                {`perl -e 'socket(S,17,3,768) or die $!'`, false},
		"makes a vsock socket":                 {`perl -e 'socket(S,40,1,0) or die $!'`, false},
		"changes its network":                  {`ip link set lo down || ip addr add 10.1.1.1/8 dev lo`, false},
		"inherits descriptors":                 {`ls -l /proc/self/fd | grep -E ' ([3-9]|[1-9][0-9]+) ->' | grep -v /proc/`, false},
		"reads descriptors of process 1":       {`readlink /proc/1/fd/* /proc/1/exe || cat /proc/1/fdinfo/*`, false},
		"opens descriptors of process 1":       {`for f in /proc/1/fd/*; do exec 9<$f && exit 0; exec 9>$f && exit 0; done; exit 1`, false},
		"reads the environment of process 1":   {`cat /proc/1/environ | grep -a .`, false},
		"reads the memory of process 1":        {`exec 3</proc/1/mem || cat /proc/1/maps | grep .`, false},
		"writes the memory of process 1":       {`exec 3>/proc/1/mem`, false},
		"enters the root of process 1":         {`ls /proc/1/root/ || ls /proc/1/cwd/`, false},
		"kills process 1":                      {`kill -9 1; kill -TERM 1; kill -STOP 1; exit 1`, false},
		"connects to D-Bus":                    {connect("/run/dbus/system_bus_socket"), false},
		"connects to Docker":                   {connect("/run/docker.sock") + "||" + connect("/var/run/docker.sock"), false},
		"connects to containerd":               {connect("/run/containerd/containerd.sock"), false},
		"connects to an abstract socket":       {connect(`\0slipway-canary`), false},
		"sees abstract sockets of the machine": {`grep slipway-canary /proc/net/unix`, false},
		"gets capabilities with a file": {`cp /usr/bin/perl /tmp/p && setcap cap_net_admin+ep /tmp/p &&
			setpriv --reuid 1000 --clear-groups /tmp/p -e 'open F,"/proc/self/status"; print grep /CapEff/, <F>' |
			grep -v 0000000000000000`, false},
		"has the capability to administer": {`capsh --print 2>/dev/null | grep '^Current:' |
			grep -E 'sys_admin|net_admin|net_raw|sys_ptrace|sys_module|dac_read_search|sys_resource|sys_boot'`, false},
		"is not root of the machine": {`awk '$2 == 0' /proc/self/uid_map | grep .`, false},
		"has no other user's group":  {`id -G | grep -vx 0`, false},
	} {
		a.check(name, tc.script, tc.want)
	}
	a.testSystemCalls()
	a.same("process 1 still answers", "echo yes", "yes")
}

// connect returns a script that connects to a Unix socket; the path is a Perl string.
func connect(path string) string {
	return `perl -MSocket -e 'socket(S,AF_UNIX,SOCK_STREAM,0) or die; connect(S,pack_sockaddr_un("` + path + `")) or die $!'`
}

// testSystemCalls makes system calls that no program does.
func (a *attempt) testSystemCalls() {
	if runtime.GOARCH != "amd64" {
		a.t.Log("SKIPPED: the numbers of system calls are those of amd64")
		return
	}
	for name, call := range map[string]string{
		"ptrace of process 1":                  "101,16,1,0,0",
		"pidfd_getfd of process 1":             "438,syscall(434,1,0),3,0",
		"keyctl":                               "250,0,-3,0",
		"add_key":                              "248,0,0,0,0,-3",
		"bpf":                                  "321,0,0,0",
		"perf_event_open":                      "298,0,0,-1,-1,0",
		"userfaultfd":                          "323,0",
		"open_by_handle_at":                    "304,0,0,0",
		"name_to_handle_at of another machine": "304,-100,0,2",
		"kexec_load":                           "246,0,0,0,0",
		"io_uring_setup":                       "425,8,0",
		"reboot":                               "169,0xfee1dead,672274793,0x1234567,0",
		"mount by descriptor":                  "428,-100,0,1",
		"setns":                                "308,0,0",
		"clone with a user namespace":          "56,0x10000011,0,0,0,0",
		"new personality":                      "135,0x0040000",
		"swapoff":                              "168,0",
		"acct":                                 "163,0",
		"quotactl":                             "179,0,0,0,0",
		"syslog":                               "103,3,0,0",
	} {
		a.check(name, `perl -e '$r = syscall(`+call+`); $r >= 0 or die $!'`, false)
	}
	const read = `perl -e '$b = "x" x 8; $l = pack("pQ", $b, 8); $r = pack("QQ", 4198400, 8);
		syscall(310, 1, $l, 1, $r, 1, 0); exit !$!{EPERM}'`
	a.check("process_vm_readv of process 1 is not permitted", read, true)
}

// listenOutside makes sockets of this machine, and checks that they answer here. /run is replaced in this
// mount namespace first.
func (a *attempt) listenOutside(paths ...string) {
	a.t.Helper()
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, ""); err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() {
		if err := unix.Unmount("/run", unix.MNT_DETACH); err != nil {
			a.t.Error(err)
		}
	})
	for _, path := range paths {
		_ = os.MkdirAll(filepath.Dir(path), 0o755)
		l, err := net.Listen("unix", path)
		if err != nil {
			a.t.Fatal(err)
		}
		a.t.Cleanup(func() { l.Close() })
		conn, err := net.Dial("unix", path)
		if err != nil {
			a.t.Fatalf("%s: got %v, want that it answers outside", path, err)
		}
		conn.Close()
	}
}

// openSecret opens a file without close-on-exec, as a library in C might do.
func (a *attempt) openSecret() {
	a.t.Helper()
	fd, err := unix.Open("/etc/passwd", unix.O_RDONLY, 0)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = unix.Close(fd) })
}
