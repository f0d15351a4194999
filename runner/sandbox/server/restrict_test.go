package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/network"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"slipway/config/must"
	"slipway/runner/sandbox"
	"slipway/runner/sandbox/netns"
)

// worldVariable is set in a process that has network and mount namespaces of its own. TestMain starts the
// tests there as root, so that no bridge and no rule of a test is on the machine.
const worldVariable = "SLIPWAY_SERVER_TEST_WORLD"

func TestMain(m *testing.M) {
	if os.Getenv(worldVariable) != "" || os.Getuid() != 0 {
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), worldVariable+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	case errors.Is(err, syscall.EPERM):
		os.Exit(m.Run()) // a container: the tests that need namespaces skip
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// openTestNetwork opens the CNI network in the namespaces of the test.
func openTestNetwork(t *testing.T) openedNetwork {
	t.Helper()
	if os.Getenv(worldVariable) == "" {
		t.Skip("SKIPPED: the network of RUN steps needs root")
	}
	facts := sandbox.ReadNetworkFacts(true)
	if facts.PluginDir == "" || !facts.IPTables {
		t.Skip("SKIPPED: CNI plugins or iptables, which are absent " +
			"(Debian: apt-get install containernetworking-plugins iptables)")
	}
	must.Succeed(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	for _, dir := range []string{cniLeases, "/var/lib/cni"} {
		must.Succeed(t, os.MkdirAll(dir, 0o700))
		must.Succeed(t, unix.Mount("tmpfs", dir, "tmpfs", 0, ""))
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	}
	must.Succeed(t, exec.Command("ip", "link", "set", "lo", "up").Run())
	log := logrus.New()
	opened := must.Get[openedNetwork](t)(openNetwork(t.Context(), Config{
		State:   t.TempDir(),
		Network: sandbox.NetworkCNI,
		Log:     log,
	}))
	t.Cleanup(func() { must.Succeed(t, opened.providers[pb.NetMode_UNSET].Close()) })
	return opened
}

// A step is the network of a RUN step.
type step struct {
	file    *os.File
	address string
}

func newStep(t *testing.T, provider network.Provider) step {
	t.Helper()
	return newNamedStep(t, provider, "")
}

func newNamedStep(t *testing.T, provider network.Provider, host string) step {
	t.Helper()
	namespace := must.Get[network.Namespace](t)(provider.New(context.Background(), host, network.NamespaceOptions{}))
	t.Cleanup(func() { must.Succeed(t, namespace.Close()) })
	spec := &specs.Spec{Linux: &specs.Linux{}}
	must.Succeed(t, namespace.Set(spec))
	s := step{file: must.Get[*os.File](t)(os.Open(networkPath(spec)))}
	t.Cleanup(func() { s.file.Close() })
	must.Succeed(t, netns.Do(s.file, func() error {
		all, err := net.InterfaceAddrs()
		for _, address := range all {
			prefix := netip.MustParsePrefix(address.String())
			if prefix.Addr().Is4() && !prefix.Addr().IsLoopback() {
				s.address = prefix.Addr().String()
			}
		}
		return err
	}))
	return s
}

// connect connects from one step to a service that listens in another one.
func connect(t *testing.T, from, to step) error {
	t.Helper()
	var listener net.Listener
	must.Succeed(t, netns.Do(to.file, func() (err error) {
		listener, err = net.Listen("tcp", ":7000")
		return err
	}))
	defer listener.Close()
	return netns.Do(from.file, func() error {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(to.address, "7000"), time.Second)
		if err == nil {
			conn.Close()
		}
		return err
	})
}

func TestStepsDoNotReachEachOther(t *testing.T) {
	opened := openTestNetwork(t)
	restricted := opened.providers[pb.NetMode_UNSET]
	one, two := newStep(t, restricted), newStep(t, restricted)
	if one.address == two.address {
		t.Fatalf("got address %s twice, want two", one.address)
	}
	if err := connect(t, one, two); err == nil {
		t.Error("from one step to another: got a connection, want none")
	}
	gateway := must.Get[net.Listener](t)(net.Listen("tcp", "10.209.0.1:7000"))
	defer gateway.Close()
	must.Succeed(t, netns.Do(one.file, func() error {
		conn, err := net.DialTimeout("tcp", gateway.Addr().String(), 5*time.Second)
		if err != nil {
			return fmt.Errorf("from a step to its gateway: %w", err)
		}
		return conn.Close()
	}))
}

// The bridge alone isolates the steps: kernels without br_netfilter do not apply the rule. With neither,
// one step reaches another.
func TestTheBridgeIsolatesSteps(t *testing.T) {
	opened := openTestNetwork(t)
	must.Succeed(t, exec.Command("iptables", "-D", "FORWARD", "-i", cniBridge, "-o", cniBridge, "-j", "DROP").Run())
	restricted := opened.providers[pb.NetMode_UNSET]
	if err := connect(t, newStep(t, restricted), newStep(t, restricted)); err == nil {
		t.Error("isolated: got a connection, want none")
	}
	plain := restricted.(restrictedProvider).Provider
	// A namespace of the pool may have been isolated already, so these have names, which are not in it.
	if err := connect(t, newNamedStep(t, plain, "one"), newNamedStep(t, plain, "two")); err != nil {
		t.Errorf("not isolated: got %v, want a connection", err)
	}
}

func TestStepsHaveNoRawSockets(t *testing.T) {
	spec := &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{
		Bounding:  []string{"CAP_CHOWN", "CAP_NET_RAW", "CAP_KILL"},
		Effective: []string{"CAP_NET_RAW"},
	}}}
	provider := restrictedProvider{Provider: network.NewNoneProvider()}
	namespace := must.Get[network.Namespace](t)(provider.New(t.Context(), "", network.NamespaceOptions{}))
	must.Succeed(t, namespace.Set(spec))
	if diff := cmp.Diff([]string{"CAP_CHOWN", "CAP_KILL"}, spec.Process.Capabilities.Bounding); diff != "" {
		t.Errorf("bounding set (-want +got):\n%s", diff)
	}
	if got := spec.Process.Capabilities.Effective; len(got) != 0 {
		t.Errorf("effective set: got %v, want none", got)
	}
}

// Every network that a step can request drops raw sockets.
func TestAllNetworksAreRestricted(t *testing.T) {
	for _, mode := range []string{sandbox.NetworkCNI, sandbox.NetworkSlirp, sandbox.NetworkNone, sandbox.NetworkHost} {
		all := providers(sandbox.NetworkPlan{Mode: mode}, network.NewHostProvider())
		var modes []pb.NetMode
		for requested, provider := range all {
			modes = append(modes, requested)
			if _, ok := provider.(restrictedProvider); !ok {
				t.Errorf("network %s, requested %s: got %T, want it restricted", mode, requested, provider)
			}
		}
		if !slices.Contains(modes, pb.NetMode_UNSET) {
			t.Errorf("network %s: got networks %v, want the default among them", mode, modes)
		}
	}
}
