package attacktest

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipway/config/must"
	"slipway/plugin/demo/demotest"
	"slipway/runner/sandbox/netns"
)

const (
	host4, host6 = "192.0.2.2", "2001:db8:a::2"
	bridged      = "172.29.0.1" // the machine's address on a bridge of containers
	hostPort     = "8088"       // of a service on all addresses of the machine
	loopbackPort = "5005"       // of a service on the machine's loopback addresses
)

// runnerUser is the user ID of the first of several runners.
const runnerUser = 64000

// metadata are addresses of metadata services, which answer in the world's internet.
func metadata() []string {
	return []string{
		"169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254",
	}
}

func run(program string, args ...string) error {
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, out)
	}
	return nil
}

// ip runs commands of ip in this thread's network namespace.
func ip(commands ...string) error {
	var errs []error
	for _, c := range commands {
		errs = append(errs, run("ip", strings.Fields(c)...))
	}
	return errors.Join(errs...)
}

// A world has services outside of every build. They answer with the canary of the attack, and record who
// connects. "host" is the network namespace of the test process, with all programs of the installation, and
// "internet" is another one. The files in /run and /dev/shm are of the world, too. It is safe for concurrent
// use.
type world struct {
	dir string // files that every user may read

	mu      sync.Mutex
	canary  string
	reached []string
}

// newWorld adds networks, files, sockets and services to the world of this process.
func newWorld(t testing.TB) *world {
	t.Helper()
	if !demotest.IsIsolated() {
		t.Skip("SKIPPED: network namespaces need root")
	}
	w := &world{dir: must.Get[string](t)(os.MkdirTemp("", "outside-"))}
	t.Cleanup(func() { _ = os.RemoveAll(w.dir) })
	must.Succeed(t, os.Chmod(w.dir, 0o755))
	w.mount(t)
	w.connect(t)
	for _, path := range []string{
		"/run/docker.sock", "/run/containerd/containerd.sock", "/run/dbus/system_bus_socket", "@slipway-outside",
	} {
		if !strings.HasPrefix(path, "@") {
			must.Succeed(t, os.MkdirAll(filepath.Dir(path), 0o755))
		}
		w.serve(t, path, must.Get[net.Listener](t)(net.Listen("unix", path)))
		if !strings.HasPrefix(path, "@") {
			must.Succeed(t, os.Chmod(path, 0o666)) // the worst case: every user may connect
		}
	}
	return w
}

// mount replaces the files that programs of a machine share.
func (w *world) mount(t testing.TB) {
	t.Helper()
	for dir, mode := range map[string]string{"/run": "0755", "/dev/shm": "1777"} {
		must.Succeed(t, unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode="+mode))
	}
}

// connect gives the host its addresses and the internet.
func (w *world) connect(t testing.TB) {
	t.Helper()
	internet := must.Get[*os.File](t)(netns.New(func() error { return nil }))
	t.Cleanup(func() { internet.Close() })
	must.Succeed(t, ip(
		"link add wan0 type veth peer name host0 netns "+netns.Path(internet),
		"addr add "+host4+"/24 dev wan0",
		"addr add "+host6+"/64 dev wan0 nodad",
		"link set wan0 up",
		"route add default via 192.0.2.1",
		"link add docker9 type bridge",
		"addr add "+bridged+"/24 dev docker9",
		"link set docker9 up",
	))
	must.Succeed(t, netns.Do(internet, func() error {
		commands := []string{
			"link set lo up",
			"addr add 192.0.2.1/24 dev host0",
			"addr add 2001:db8:a::1/64 dev host0 nodad",
			"link set host0 up",
		}
		for _, address := range metadata() {
			commands = append(commands, "addr add "+address+" dev lo")
		}
		return ip(commands...)
	}))
	must.Succeed(t, ip("route add ::/0 via 2001:db8:a::1"))
	listen := func(address string) net.Listener {
		return must.Get[net.Listener](t)(net.Listen("tcp", address))
	}
	w.serve(t, "host", listen(":"+hostPort))
	w.serve(t, "loopback", listen("127.0.0.1:"+loopbackPort))
	w.serve(t, "loopback", listen("[::1]:"+loopbackPort))
	for _, address := range []string{":80", ":443"} {
		var listener net.Listener
		must.Succeed(t, netns.Do(internet, func() (err error) {
			listener, err = net.Listen("tcp", address)
			return err
		}))
		w.serve(t, "internet", listener)
	}
}

// serve answers the clients of a service with the canary, and records them.
func (w *world) serve(t testing.TB, service string, listener net.Listener) {
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go w.answer(service, conn)
		}
	}()
}

// clientTimeout bounds the wait for a client's request, which a client need not send.
const clientTimeout = 300 * time.Millisecond

func (w *world) answer(service string, conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(clientTimeout)) // the connection counts in any case
	line, _ := bufio.NewReader(conn).ReadString('\n')
	w.mu.Lock()
	canary := w.canary
	w.reached = append(w.reached, fmt.Sprintf("%s at %s: %q", service, conn.LocalAddr(), strings.TrimSpace(line)))
	w.mu.Unlock()
	_ = conn.SetDeadline(time.Now().Add(clientTimeout))
	fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s\n", len(canary)+1, canary)
}

// plant starts an attack: it forgets who connected, and sets the canary of services and files.
func (w *world) plant(t testing.TB, canary, data string) {
	t.Helper()
	w.mu.Lock()
	w.canary, w.reached = canary, nil
	w.mu.Unlock()
	for path, mode := range map[string]os.FileMode{
		filepath.Join(w.dir, "public"):  0o644,
		filepath.Join(w.dir, "private"): 0o600,
		"/dev/shm/outside":              0o644,
		filepath.Join(data, "public"):   0o644,
	} {
		must.Succeed(t, os.WriteFile(path, []byte(canary+"\n"), mode))
	}
	hooks := filepath.Join(w.dir, "hooks")
	must.Succeed(t, os.MkdirAll(hooks, 0o755))
	script := "#!/bin/sh\necho 'try hook replaced: " + canary + "'\n"
	must.Succeed(t, os.WriteFile(filepath.Join(hooks, "post_build"), []byte(script), 0o755))
	must.Succeed(t, os.Chown(filepath.Join(hooks, "post_build"), runnerUser, runnerUser))
	reader := filepath.Join(w.dir, "reader")
	must.Succeed(t, run("cp", "/bin/cat", reader))
	must.Succeed(t, os.Chmod(reader, 0o755|os.ModeSetuid))
}

// connections returns the connections to the world's services since plant.
func (w *world) connections() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Compact(slices.Sorted(slices.Values(w.reached)))
}

// fill returns the values of names in the files of attacks.
func (w *world) fill() map[string]string {
	return map[string]string{
		"OUTSIDE": w.dir, "HOST_PORT": hostPort, "LOOPBACK_PORT": loopbackPort, "HOST": host4, "HOST6": host6,
		"BRIDGED": bridged,
	}
}
