package network

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"slipway/config/must"
	"slipway/runner/sandbox/netns"
)

// The tests run in a world of their own: "host" is the network namespace of the test process, and
// "internet" and "container" are others. No packet leaves them. TestMain makes the host and starts the
// test binary again in it.
const worldVariable = "SLIPWAY_NETWORK_TEST_WORLD"

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(stageVariable) != "":
		os.Exit(runStage(os.Getenv(stageVariable)))
	case os.Getenv(worldVariable) != "":
		if err := shareTun(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	case os.Getuid() != 0:
		os.Exit(m.Run())
	}
	host, err := netns.New(func() error {
		l, err := openLinks()
		if err != nil {
			return err
		}
		defer l.close()
		return l.up("lo") // for tests that need no world
	})
	if err == nil {
		err = netns.Do(host, func() error {
			cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
			cmd.Env = append(os.Environ(), worldVariable+"=1")
			cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
			return cmd.Run()
		})
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// shareTun lets all users open /dev/net/tun, as distributions do, in the tests' mount namespace alone.
func shareTun() error {
	if _, err := os.Stat(tunDevice); err != nil {
		return nil //nolint:nilerr // the tests that need it skip
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", filepath.Dir(tunDevice), "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount tmpfs: %w", err)
	}
	if err := unix.Mknod(tunDevice, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 200))); err != nil {
		return fmt.Errorf("make %s: %w", tunDevice, err)
	}
	return os.Chmod(tunDevice, 0o666)
}

const tunDevice = "/dev/net/tun"

// A world is a machine (the namespace of this process), its internet, and a container on the machine.
type world struct {
	internet   *os.File
	container  *os.File
	resolvConf string
}

const (
	host4, host6     = "192.0.2.2", "2001:db8:a::2"
	public4, public6 = "203.0.113.10", "2001:db8:f::10"
	resolverAddress  = "168.63.129.16" // as in one large cloud: the resolver is at a refused address
	bridged          = "172.29.0.1"    // the machine's address on a bridge of containers
	published        = "8088"          // the machine's port that leads to the container
)

// metadata are addresses of metadata services and other refused ones that answer in the test's internet.
var metadata = []string{
	"169.254.169.254",
	resolverAddress,
	"100.100.100.200",
	"192.0.0.192",
	private4,
	private6,
	privateNAT64,
	"fd00:ec2::254",
	"fd20:ce::254",
	"64:ff9b::a9fe:a9fe",
	"64:ff9b:1::a9fe:a9fe",
	"2002:a9fe:a9fe::1",
}

// Addresses of private networks. privateNAT64 is private4 on a host that has IPv6 alone.
const (
	private4     = "10.20.30.40"
	private6     = "fd12:3456::40"
	privateNAT64 = "64:ff9b::a14:1e28"
)

// publicNAT64 is public4 on a host that has IPv6 alone.
const publicNAT64 = "64:ff9b::cb00:710a"

func requirePrograms(t testing.TB, packages map[string]string) {
	t.Helper()
	for program, debian := range packages {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("SKIPPED: %s, which is absent (Debian: apt-get install %s)", program, debian)
		}
	}
}

// newWorld builds the world in this process's network namespace, and removes it at the test's end.
func newWorld(t testing.TB) world {
	t.Helper()
	if os.Getenv(worldVariable) == "" {
		t.Skip("SKIPPED: network namespaces need root")
	}
	requirePrograms(
		t,
		map[string]string{"iptables-restore": "iptables", "ip6tables-restore": "iptables", "ip": "iproute2"},
	)
	w := world{internet: emptyNamespace(t), container: emptyNamespace(t)}
	// Without duplicate address detection IPv6 works at once.
	atOnce := map[string]string{"ipv6/conf/default/accept_dad": "0"}
	must.Succeed(t, setSysctls(atOnce))
	inside(t, w.internet, func() { must.Succeed(t, setSysctls(atOnce)) })
	ip(t, "link set lo up",
		"link add wan0 type veth peer name host0 netns "+netns.Path(w.internet),
		"addr add "+host4+"/24 dev wan0", "addr add "+host6+"/64 dev wan0 nodad", "link set wan0 up",
		"route add default via 192.0.2.1",
		"link add docker9 type bridge", "addr add "+bridged+"/24 dev docker9", "link set docker9 up",
		"link add cont0 type veth peer name eth0 netns "+netns.Path(w.container),
		"link set cont0 master docker9")
	t.Cleanup(func() { ip(t, "link del docker9", "link del cont0", "link del wan0") })
	internet := []string{
		"link set lo up",
		"addr add 192.0.2.1/24 dev host0",
		"addr add 2001:db8:a::1/64 dev host0 nodad",
		"link set host0 up",
	}
	for _, address := range append([]string{public4, public6, publicNAT64}, metadata...) {
		internet = append(internet, "addr add "+address+" dev lo")
	}
	inside(t, w.internet, func() { ip(t, internet...) })
	inside(t, w.container, func() {
		ip(t, "link set lo up", "addr add 172.29.0.2/24 dev eth0", "link set eth0 up", "route add default via "+bridged)
	})
	ip(t, "link set cont0 up")
	ip(t, "route add ::/0 via 2001:db8:a::1")
	awaitLinks(t, "wan0", host4, host6)
	inside(t, w.internet, func() { awaitLinks(t, "host0", "192.0.2.1", "2001:db8:a::1") })
	inside(t, w.container, func() { awaitLinks(t, "eth0", "172.29.0.2") })
	awaitLinks(t, "docker9", bridged)
	w.answer(t, w.internet, ":80", "internet")
	w.answer(t, w.container, ":80", "container")
	w.answer(t, nil, ":8080", "host")
	w.answer(t, nil, "127.0.0.1:5000", "registry")
	w.serveNames(t)
	w.setMachineRules(t)
	w.resolvConf = filepath.Join(t.TempDir(), "resolv.conf")
	must.Succeed(t, os.WriteFile(w.resolvConf, []byte("nameserver "+resolverAddress+"\n"), 0o600))
	return w
}

// awaitLinks waits until an interface of this thread's namespace can be used.
func awaitLinks(t testing.TB, name string, addresses ...string) {
	t.Helper()
	l := must.Get[links](t)(openLinks())
	defer l.close()
	var parsed []netip.Addr
	for _, address := range addresses {
		parsed = append(parsed, netip.MustParseAddr(address))
	}
	must.Succeed(t, l.awaitReady(t.Context(), name, parsed...))
}

// setMachineRules sets rules as Docker does: it publishes a port, and drops unknown packets. The
// test's end removes all rules, ours included.
func (w world) setMachineRules(t testing.TB) {
	t.Helper()
	must.Succeed(
		t,
		restore(t.Context(), ipv4, "*nat\n-A PREROUTING -m addrtype --dst-type LOCAL -p tcp --dport "+published+
			" -j DNAT --to-destination 172.29.0.2:80\n-A POSTROUTING -o wan0 -j MASQUERADE\nCOMMIT\n"+
			"*filter\n:FORWARD DROP [0:0]\n-A FORWARD -o docker9 -j ACCEPT\n-A FORWARD -i docker9 -j ACCEPT\nCOMMIT\n"),
	)
	must.Succeed(t, restore(t.Context(), ipv6, "*filter\n:FORWARD DROP [0:0]\nCOMMIT\n"))
	t.Cleanup(func() {
		for _, version := range []family{ipv4, ipv6} {
			must.Succeed(
				t,
				restore(context.Background(), version, "*nat\nCOMMIT\n*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n"),
			)
		}
	})
}

// options returns the options of a router in the world.
func (w world) options() Options {
	log := logrus.New()
	log.SetLevel(logrus.ErrorLevel)
	o := Options{ResolvConf: w.resolvConf, Log: log}
	o.Filter.Policy.RefusePrivate = true
	return o
}

func newRouter(t testing.TB, o Options) *Router {
	t.Helper()
	router := must.Get[*Router](t)(NewRouter(t.Context(), o))
	t.Cleanup(func() { must.Succeed(t, router.Close()) })
	return router
}

func join(t testing.TB, r *Router, name string) *Namespace {
	t.Helper()
	return must.Get[*Namespace](t)(r.Join(t.Context(), name))
}

func emptyNamespace(t testing.TB) *os.File {
	t.Helper()
	namespace := must.Get[*os.File](t)(netns.New(func() error { return nil }))
	t.Cleanup(func() { namespace.Close() })
	return namespace
}

func inside(t testing.TB, namespace *os.File, f func()) {
	t.Helper()
	if namespace == nil {
		f()
		return
	}
	must.Succeed(t, netns.Do(namespace, func() error { f(); return nil }))
}

// ip runs commands of ip in this thread's network namespace.
func ip(t testing.TB, commands ...string) {
	t.Helper()
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("ip: %v: %s", err, out)
	}
}

// answer listens in a namespace and sends a word to each client. Without a namespace it listens on the
// host.
func (w world) answer(t testing.TB, namespace *os.File, address, word string) {
	t.Helper()
	var listener net.Listener
	var err error
	inside(t, namespace, func() { listener, err = net.Listen("tcp", address) })
	must.Succeed(t, err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(conn, word)
			conn.Close()
		}
	}()
}

// serveNames serves the names of the test's internet, over UDP and TCP.
func (w world) serveNames(t testing.TB) {
	t.Helper()
	records := map[string][]string{
		"public.test.": {"public.test. A " + public4, "public.test. AAAA " + public6},
		"evil.test.":   {"evil.test. A 169.254.169.254"},
		"long.test.":   nil,
	}
	for i := range 100 {
		records["long.test."] = append(records["long.test."], fmt.Sprintf("long.test. A 203.0.113.%d", i+1))
	}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		answer := new(dns.Msg).SetReply(query)
		found, known := records[query.Question[0].Name]
		if !known {
			answer.Rcode = dns.RcodeNameError
		}
		for _, text := range found {
			if record, err := dns.NewRR(text); err == nil && record.Header().Rrtype == query.Question[0].Qtype {
				answer.Answer = append(answer.Answer, record)
			}
		}
		if w.LocalAddr().Network() == "udp" {
			answer.Truncate(udpSize(query))
		}
		_ = w.WriteMsg(answer)
	})
	address := resolverAddress + ":53"
	var packets net.PacketConn
	var listener net.Listener
	var errs [2]error
	inside(t, w.internet, func() {
		packets, errs[0] = net.ListenPacket("udp", address)
		listener, errs[1] = net.Listen("tcp", address)
	})
	must.Succeed(t, errors.Join(errs[:]...))
	for _, server := range []*dns.Server{{PacketConn: packets, Handler: handler}, {Listener: listener, Handler: handler}} {
		go func() { _ = server.ActivateAndServe() }()
		t.Cleanup(func() { closeDNS(server) })
	}
}

// dialTimeout bounds a connection that must not come to be. Refused ones end at once or by this.
const dialTimeout = time.Second

// read connects to an address from a namespace and returns the word that is sent there.
func read(n *Namespace, address string) (string, error) {
	var conn net.Conn
	err := n.Do(func() (err error) {
		conn, err = net.DialTimeout("tcp", address, dialTimeout)
		return err
	})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(dialTimeout))
	line, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line), err
}

// readAll connects to all addresses at once, and returns the words. Errors are empty words.
func readAll(n *Namespace, addresses []string) map[string]string {
	words := make([]string, len(addresses))
	var all sync.WaitGroup
	for i, address := range addresses {
		all.Go(func() { words[i], _ = read(n, address) })
	}
	all.Wait()
	found := map[string]string{}
	for i, address := range addresses {
		found[address] = words[i]
	}
	return found
}

// resolve asks the forwarder of a namespace.
func resolve(n *Namespace, network, name string, kind uint16) (*dns.Msg, error) {
	var conn net.Conn
	err := n.Do(func() (err error) {
		conn, err = net.DialTimeout(network, netip.AddrPortFrom(n.DNS(), dnsPort).String(), dialTimeout)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	client := dns.Client{Net: network, Timeout: queryTimeout}
	answer, _, err := client.ExchangeWithConn(new(dns.Msg).SetQuestion(name, kind), &dns.Conn{Conn: conn})
	return answer, err
}
