package worldtest

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipway/config/identity"
	"slipway/config/loopback"
	"slipway/config/must"
	"slipway/config/process"
	"slipway/config/secret"
	"slipway/runner/buildkit"
	"slipway/runner/sandbox"
	"slipway/runner/sandbox/network"
)

// A remoteBuilder is a builder on TCP with a client.
type remoteBuilder struct {
	client  *buildkit.Client
	process *process.Builder
	log     *lines
}

// lines are the lines of a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.WriteString(line + "\n")
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// startRemote starts a builder on TCP in the world's machine, and connects a client.
func (w world) startRemote(t *testing.T, args ...string) remoteBuilder {
	t.Helper()
	if mode := sandbox.Probe(t.Context(), sandbox.ProbeOptions{})[0]; !mode.OK {
		t.Skip("SKIPPED: no real builds here: " + mode.Fix)
	}
	dir := must.Get[string](t)(os.MkdirTemp("", "remote-")) // the names of sockets have a limit
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	keys := exec.Command("/proc/self/exe", "builder", "keys", filepath.Join(dir, "keys"), "--host", "127.0.0.1")
	if out, err := keys.CombinedOutput(); err != nil {
		t.Fatalf("builder keys: %v\n%s", err, out)
	}
	address := "tcp://" + must.Get[string](t)(loopback.FreeAddress(t.Context()))
	cmd := exec.Command("/proc/self/exe", append([]string{
		"builder", "--address", address, "--tls", filepath.Join(dir, "keys", "server.pem"),
		"--state", filepath.Join(dir, "state"), "--limits=false", "--local-registry", w.registry,
		"--insecure-registry", publicAddress + ":80", "--insecure-registry", private + ":80",
	}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	log := &lines{}
	builder := must.Get[*process.Builder](t)(process.StartBuilder(cmd, log.add))
	t.Cleanup(func() { builder.Stop(20 * time.Second) })
	if err := builder.WaitReady(t.Context()); err != nil {
		t.Fatalf("start: %v\n%s", err, log)
	}
	pem := must.Get[[]byte](t)(os.ReadFile(filepath.Join(dir, "keys", "client.pem")))
	id := must.Get[identity.Identity](t)(identity.Read(secret.New(string(pem))))
	client := must.Get[*buildkit.Client](t)(buildkit.Dial(t.Context(), address, id))
	t.Cleanup(func() { _ = client.Close() })
	return remoteBuilder{client: client, process: builder, log: log}
}

// refusedOnTCP returns the attacks by an address. The others need a name server, and the builder uses the
// machine's.
func refusedOnTCP() map[string]struct{ dockerfile, message string } {
	all := map[string]struct{ dockerfile, message string }{}
	for name, attack := range attacks {
		if !strings.Contains(attack.dockerfile, ".test") {
			all[name] = attack
		}
	}
	return all
}

// A builder on TCP has the filter of the builder service.
func TestABuilderOnTCPIsFiltered(t *testing.T) {
	w := newWorld(t)
	b := w.startRemote(t, "--private-networks=refuse")
	all := refusedOnTCP()
	for name, source := range privateSources {
		if name != "HTTP, by name" {
			all["private, "+name] = source
		}
	}
	for name, attack := range all {
		log, err := build(t.Context(), t, b.client, "", "FROM scratch\n"+attack.dockerfile+"\n")
		var failed *buildkit.BuildError
		if !errors.As(err, &failed) {
			t.Errorf("%s: got error %v, want a BuildError; log:\n%s", name, err, log)
			continue
		}
		if !strings.Contains(err.Error(), attack.message) {
			t.Errorf("%s: got error %q, want %q in it", name, err, attack.message)
		}
	}
	const public = "FROM scratch\nADD git://" + publicAddress + "/repo.git#main /git\nADD http://" + publicAddress +
		"/file /file\n"
	if log, err := build(t.Context(), t, b.client, w.registry+"/a", public); err != nil {
		t.Errorf("a public source, pushed to the local registry: got error %v, want none; log:\n%s", err, log)
	}
}

// A killed builder leaves no interface on the machine.
func TestAKilledBuilderOnTCPLeavesNoNetwork(t *testing.T) {
	w := newWorld(t)
	b := w.startRemote(t, "--network=none")
	if got := uplinks(t); got == 0 {
		t.Error("uplinks of a running builder: got 0, want some")
	}
	b.process.Signal(unix.SIGKILL)
	_ = b.process.Wait() // it was killed
	deadline := time.Now().Add(10 * time.Second)
	for uplinks(t) > 0 && time.Now().Before(deadline) {
		runtime.Gosched()
	}
	if got := uplinks(t); got != 0 {
		t.Errorf("uplinks of a killed builder: got %d, want 0", got)
	}
}

// uplinks returns the number of uplinks of networks on the machine.
func uplinks(t *testing.T) (n int) {
	t.Helper()
	for _, i := range must.Get[[]net.Interface](t)(net.Interfaces()) {
		if strings.HasPrefix(i.Name, network.HostPrefix) {
			n++
		}
	}
	return n
}

// With the machine's network, git reaches the attack's address, and the builder warns of it.
func TestABuilderOnTCPWithTheMachinesNetworkWarns(t *testing.T) {
	w := newWorld(t)
	b := w.startRemote(t, "--network=host")
	for _, want := range []string{"builders use the network of this machine", "--network is host"} {
		if !strings.Contains(b.log.String(), want) {
			t.Errorf("log: got %q, want %q in it", b.log, want)
		}
	}
	dockerfile := "FROM scratch\n" + attacks["git"].dockerfile + "\n"
	if log, err := build(t.Context(), t, b.client, "", dockerfile); err != nil {
		t.Errorf("got error %v, want none; log:\n%s", err, log)
	}
}

// Without a filter nothing holds the settings, so the builder does not start.
func TestABuilderOnTCPDoesNotStartIfItCannotHoldTheSettings(t *testing.T) {
	if os.Getenv(worldVariable) == "" {
		t.Skip("SKIPPED: network namespaces need root")
	}
	dir := t.TempDir()
	keys := exec.Command("/proc/self/exe", "builder", "keys", dir, "--host", "127.0.0.1")
	if out, err := keys.CombinedOutput(); err != nil {
		t.Fatalf("builder keys: %v\n%s", err, out)
	}
	for _, setting := range []string{"SLIPWAY_PRIVATE_NETWORKS=refuse", "SLIPWAY_ALLOWED_NETWORKS=10.1.2.3"} {
		cmd := exec.Command("/proc/self/exe", "builder", "--address", "tcp://127.0.0.1:0",
			"--tls", filepath.Join(dir, "server.pem"), "--state", t.TempDir(), "--network=host")
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), setting}
		out, err := cmd.CombinedOutput()
		if err == nil {
			t.Errorf("%s: got no error, want one", setting)
		}
		want := "SLIPWAY_PRIVATE_NETWORKS and SLIPWAY_ALLOWED_NETWORKS need a separate network for each builder: " +
			"--network is host"
		if !strings.Contains(string(out), want) {
			t.Errorf("%s: got %q, want %q in it", setting, out, want)
		}
	}
}
