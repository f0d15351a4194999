package worldtest

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"slipway/config/must"
	"slipway/config/process"
	"slipway/runner/sandbox/netns"
)

// The addresses of the world.
const (
	machineAddress = "192.0.2.2"
	publicAddress  = "203.0.113.10"
	metadata       = "169.254.169.254"
	private        = "10.20.30.40"
	resolver       = "168.63.129.16" // as in one large cloud: at an address that builds do not reach
)

// A world is a machine, which is the network namespace of this process, and its internet. Each address of the
// internet serves HTTP, which answers "from ADDRESS", and a Git repository at git://ADDRESS/repo.git.
type world struct {
	internet   *os.File
	resolvConf string
	registry   string // on the machine's loopback, as host:port
}

func newWorld(t *testing.T) world {
	t.Helper()
	if os.Getenv(worldVariable) == "" {
		t.Skip("SKIPPED: network namespaces need root")
	}
	for _, program := range []string{"runc", "git", "iptables"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf(
				"SKIPPED: builders in a network need %[1]s, which is absent (Debian: apt-get install %[1]s)",
				program,
			)
		}
	}
	w := world{internet: must.Get[*os.File](t)(netns.New(func() error { return nil }))}
	t.Cleanup(func() { w.internet.Close() })
	ip(t, "link set lo up",
		"link add wan0 type veth peer name host0 netns "+netns.Path(w.internet),
		"addr add "+machineAddress+"/24 dev wan0", "link set wan0 up", "route add default via 192.0.2.1")
	t.Cleanup(func() { ip(t, "link del wan0") })
	w.inside(t, func() {
		ip(t, "link set lo up", "addr add 192.0.2.1/24 dev host0", "link set host0 up",
			"addr add "+publicAddress+" dev lo", "addr add "+metadata+" dev lo", "addr add "+private+" dev lo",
			"addr add "+resolver+" dev lo")
	})
	repositories := newRepository(t)
	for _, address := range []string{publicAddress, metadata, private} {
		w.serveHTTP(t, address)
		w.serveGit(t, address, repositories)
	}
	w.serveNames(t)
	w.registry = serve(t, "127.0.0.1:0", registry.New())
	serve(t, machineAddress+":80", http.HandlerFunc(answerAddress))
	w.resolvConf = filepath.Join(t.TempDir(), "resolv.conf")
	must.Succeed(t, os.WriteFile(w.resolvConf, []byte("nameserver "+resolver+"\n"), 0o600))
	return w
}

func (w world) inside(t *testing.T, f func()) {
	t.Helper()
	must.Succeed(t, netns.Do(w.internet, func() error { f(); return nil }))
}

// ip runs commands of ip in this thread's network namespace.
func ip(t *testing.T, commands ...string) {
	t.Helper()
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("ip: %v: %s", err, out)
	}
}

// serve serves HTTP in this thread's network namespace, and returns its address.
func serve(t *testing.T, address string, handler http.Handler) string {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Errorf("listen: %v", err)
		return ""
	}
	server := &http.Server{Handler: handler}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return listener.Addr().String()
}

func answerAddress(w http.ResponseWriter, r *http.Request) {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	host, _, _ := net.SplitHostPort(local.String())
	fmt.Fprintln(w, "from "+host)
}

// serveHTTP serves HTTP at an address of the internet. /redirect leads to the metadata service. /v2/ is a
// registry whose token server is there.
func (w world) serveHTTP(t *testing.T, address string) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/", answerAddress)
	mux.Handle("/redirect", http.RedirectHandler("http://"+metadata+"/secret", http.StatusFound))
	mux.HandleFunc("/v2/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+metadata+`/token",service="registry"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	w.inside(t, func() { serve(t, address+":80", mux) })
}

// newRepository returns a directory with the repository repo.git.
func newRepository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must.Succeed(t, os.Mkdir(filepath.Join(dir, "work"), 0o700))
	must.Succeed(t, os.WriteFile(filepath.Join(dir, "work", "file"), []byte("text"), 0o600))
	for _, args := range [][]string{
		{"init", "-q", "--bare", "-b", "main", "repo.git"},
		{"init", "-q", "-b", "main", "work"},
		{"-C", "work", "add", "file"},
		{"-C", "work", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "first"},
		{"-C", "work", "push", "-q", "../repo.git", "main"},
	} {
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git: %v: %s", err, out)
		}
	}
	return dir
}

// serveGit serves repositories with the protocol git.
func (w world) serveGit(t *testing.T, address, dir string) {
	t.Helper()
	ready := make(chan struct{}, 1)
	cmd := exec.Command("git", "-c", "safe.directory=*", "daemon", "--verbose", "--export-all", "--reuseaddr",
		"--listen="+address, "--base-path="+dir)
	p, err := process.Start(cmd, process.Options{
		Line: func(line string) {
			if strings.Contains(line, "Ready to rumble") {
				ready <- struct{}{}
			}
		},
		Setup: func() error { return netns.Enter(w.internet) },
	})
	must.Succeed(t, err)
	t.Cleanup(func() { p.End(unix.SIGTERM) })
	select {
	case <-ready:
	case <-time.After(20 * time.Second):
		t.Fatal("git daemon: not ready within 20 seconds")
	}
}

// serveNames serves the names public.test, private.test, and evil.test for the metadata service. It has no
// other names.
func (w world) serveNames(t *testing.T) {
	t.Helper()
	records := map[string]string{
		"public.test.": publicAddress, "evil.test.": metadata, "private.test.": private,
	}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		answer := new(dns.Msg).SetReply(query)
		address, known := records[query.Question[0].Name]
		if !known {
			answer.Rcode = dns.RcodeNameError
		}
		if record, err := dns.NewRR(query.Question[0].Name + " A " + address); known && err == nil &&
			query.Question[0].Qtype == dns.TypeA {
			answer.Answer = []dns.RR{record}
		}
		_ = w.WriteMsg(answer)
	})
	var packets net.PacketConn
	var err error
	w.inside(t, func() { packets, err = net.ListenPacket("udp", resolver+":53") })
	must.Succeed(t, err)
	started := make(chan struct{})
	server := &dns.Server{PacketConn: packets, Handler: handler, NotifyStartedFunc: func() { close(started) }}
	go func() { _ = server.ActivateAndServe() }()
	<-started
	t.Cleanup(func() { _ = server.Shutdown() })
}
