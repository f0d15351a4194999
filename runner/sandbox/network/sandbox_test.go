package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"slipway/config/must"
	"slipway/config/process"
)

// runGuest tries actions of root of a sandbox in its network, and prints a line for each.
func runGuest() int {
	report := func(what string, err error) {
		word := "yes"
		if err != nil {
			word = "no: " + err.Error()
		}
		fmt.Fprintln(os.Stdout, what+":", word)
	}
	report("set interface down", func() error {
		link, err := netlink.LinkByName(memberLink)
		if err != nil {
			return err
		}
		return netlink.LinkSetDown(link)
	}())
	report("raw socket", openAndClose(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP))
	report("packet socket", openAndClose(unix.AF_PACKET, unix.SOCK_RAW, 0))
	report("ping socket", openAndClose(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP))
	listener, err := net.Listen("tcp", ":80")
	report("port 80", err)
	if err == nil {
		listener.Close()
	}
	report("enter the first network", unix.Setns(3, unix.CLONE_NEWNET))
	return 0
}

func openAndClose(domain, kind, protocol int) error {
	fd, err := unix.Socket(domain, kind, protocol)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// Root of a sandbox is root of another user namespace. It has no right over its network, and still uses
// port 80 and ping.
func TestRootOfASandboxHasNoRightOverItsNetwork(t *testing.T) {
	w := newWorld(t)
	hook := join(t, newRouter(t, w.options()), "hook")
	first := must.Get[*os.File](t)(os.Open("/proc/thread-self/ns/net"))
	defer first.Close()
	guest := exec.Command("/proc/self/exe")
	guest.Env = append(os.Environ(), stageVariable+"="+stageGuest)
	guest.ExtraFiles = []*os.File{first}
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 300000, Size: 65536}}
	guest.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids}
	var out strings.Builder
	guest.Stdout, guest.Stderr = &out, &out
	must.Succeed(t, hook.Do(guest.Start))
	if err := guest.Wait(); err != nil {
		t.Fatalf("guest: %v\n%s", err, &out)
	}
	want := `set interface down: no: operation not permitted
raw socket: no: operation not permitted
packet socket: no: operation not permitted
ping socket: yes
port 80: yes
enter the first network: no: operation not permitted
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A builder is such a process: it starts in the namespace and ends with this one.
func TestProcessesStartInTheNamespace(t *testing.T) {
	w := newWorld(t)
	builder := join(t, newRouter(t, w.options()), "builder")
	var want string
	must.Succeed(t, builder.Do(func() (err error) {
		want, err = os.Readlink("/proc/thread-self/ns/net")
		return err
	}))
	outside := must.Get[string](t)(os.Readlink("/proc/self/ns/net"))
	for range 20 {
		lines := make(chan string, 1)
		cmd := exec.Command("readlink", "/proc/self/ns/net")
		started, err := process.Start(
			cmd,
			process.Options{Setup: builder.Enter, Line: func(line string) { lines <- line }},
		)
		must.Succeed(t, err)
		must.Succeed(t, started.Wait())
		if got := <-lines; got != want {
			t.Errorf("got network %s, want that of the namespace, %s", got, want)
		}
		if got := must.Get[string](t)(os.Readlink("/proc/self/ns/net")); got != outside {
			t.Errorf("this process: got network %s, want %s", got, outside)
		}
	}
}

// Programs may write an IPv4 address as an IPv6 one. The kernel then connects by IPv4.
func TestMappedAddressesAreRefused(t *testing.T) {
	w := newWorld(t)
	hook := join(t, newRouter(t, w.options()), "hook")
	for address, allowed := range map[string]bool{
		public4: true, host4: false, "169.254.169.254": false, "10.20.30.40": false,
	} {
		err := connectMapped(hook, netip.MustParseAddr(address))
		if allowed != (err == nil) {
			t.Errorf("::ffff:%s: got %v, want allowed %t", address, err, allowed)
		}
	}
}

func connectMapped(n *Namespace, address netip.Addr) error {
	return n.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		timeout := unix.NsecToTimeval(dialTimeout.Nanoseconds())
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout); err != nil {
			return err
		}
		return unix.Connect(fd, &unix.SockaddrInet6{Port: 80, Addr: address.As16()})
	})
}

func TestListenersAreInsideTheNamespace(t *testing.T) {
	w := newWorld(t)
	router := newRouter(t, w.options())
	hook, other := join(t, router, "hook"), join(t, router, "other")
	for _, member := range []*Namespace{hook, other} { // each has the port
		listener := must.Get[net.Listener](t)(member.Listen(t.Context(), "tcp", "127.0.0.1:443"))
		go func() {
			conn, err := listener.Accept()
			if err == nil {
				fmt.Fprintln(conn, member.name)
				conn.Close()
			}
		}()
	}
	for _, member := range []*Namespace{hook, other} {
		got, err := read(member, "127.0.0.1:443")
		must.Succeed(t, err)
		if got != member.name {
			t.Errorf("got the listener of %q, want that of %q", got, member.name)
		}
	}
	packets := must.Get[net.PacketConn](t)(hook.ListenPacket(t.Context(), "udp", "127.0.0.1:53"))
	must.Succeed(t, hook.Do(func() error {
		conn, err := net.Dial("udp", "127.0.0.1:53")
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.Write([]byte("query"))
		return err
	}))
	buffer := make([]byte, 16)
	n, _, err := packets.ReadFrom(buffer)
	must.Succeed(t, err)
	if got := string(buffer[:n]); got != "query" {
		t.Errorf("got datagram %q, want %q", got, "query")
	}
}

// A service on the machine's loopback is reached at the address that is forwarded, in one namespace.
func TestForward(t *testing.T) {
	w := newWorld(t)
	router := newRouter(t, w.options())
	builder, other := join(t, router, "builder"), join(t, router, "other")
	dial := func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:5000")
	}
	must.Succeed(t, builder.Forward(t.Context(), "127.0.0.1:5000", dial))
	got, err := read(builder, "127.0.0.1:5000")
	must.Succeed(t, err)
	if got != "registry" {
		t.Errorf("got %q, want the registry", got)
	}
	if got, err := read(other, "127.0.0.1:5000"); err == nil {
		t.Errorf("in another namespace: got %q, want no connection", got)
	}
}

// A client may end its side after the request and read on. The end of the namespace ends connections.
func TestForwardedConnectionsEnd(t *testing.T) {
	w := newWorld(t)
	builder := join(t, newRouter(t, w.options()), "builder")
	ours, service := net.Pipe()
	must.Succeed(
		t,
		builder.Forward(t.Context(), "127.0.0.1:5000", func(context.Context) (net.Conn, error) { return service, nil }),
	)
	var client net.Conn
	must.Succeed(t, builder.Do(func() (err error) {
		client, err = net.Dial("tcp", "127.0.0.1:5000")
		return err
	}))
	defer client.Close()
	must.Get[int](t)(client.Write([]byte("hi")))
	must.Get[int](t)(io.ReadFull(ours, make([]byte, 2)))
	must.Succeed(t, builder.Close())
	must.Succeed(t, client.SetDeadline(time.Now().Add(5*time.Second)))
	if _, err := client.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after Close: got %v, want the connection's end", err)
	}
}
