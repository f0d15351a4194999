package buildkit_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"

	"slipway/runner/sandbox"
)

// RUN can connect to other machines, but not to services on this machine's loopback. An address of
// this machine stands for another machine.
func TestNetworkOfRUN(t *testing.T) {
	needBuildKit(t)
	cases := map[string]struct{ outside, loopback bool }{
		sandbox.NetworkCNI:   {outside: true},
		sandbox.NetworkSlirp: {outside: true},
		sandbox.NetworkNone:  {},
		sandbox.NetworkHost:  {outside: true, loopback: true},
	}
	for mode, want := range cases {
		t.Run(mode, func(t *testing.T) {
			needNetwork(t, mode)
			server := start(t, t.TempDir(), "--network", mode)
			if !strings.Contains(server.log.String(), "RUN steps use network "+mode) {
				t.Errorf("log: got:\n%s\nwant network %s in it", server.log, mode)
			}
			port := greet(t)
			steps := fmt.Sprintf(
				"RUN busybox nc -w 3 %s %d </dev/null || echo no-outside\nRUN busybox nc -w 3 127.0.0.1 %d </dev/null || echo no-loopback\n",
				ownAddress(t),
				port,
				port,
			)
			r := request(withShell(t, write(t, map[string]string{"Dockerfile": shellStage + steps})))
			var log bytes.Buffer
			r.Progress, r.NoCache = &log, true
			build(t, server.dial(t), r)
			words := output(log.String())
			if got := !strings.Contains(words, "no-outside"); got != want.outside {
				t.Errorf("connected to the outside: got %v, want %v\n%s", got, want.outside, &log)
			}
			if got := !strings.Contains(words, "no-loopback"); got != want.loopback {
				t.Errorf("connected to loopback: got %v, want %v\n%s", got, want.loopback, &log)
			}
			if got := strings.Count(words, "hello from outside"); (got > 0) != want.outside {
				t.Errorf("greetings from outside: got %d, want some: %v\n%s", got, want.outside, &log)
			}
		})
	}
}

// RUN has the capabilities of Docker's default, without the one for raw sockets.
func TestRUNHasNoRawSockets(t *testing.T) {
	needBuildKit(t)
	steps := "RUN busybox grep Cap /proc/self/status\n"
	r := request(withShell(t, write(t, map[string]string{"Dockerfile": shellStage + steps})))
	var log bytes.Buffer
	r.Progress, r.NoCache = &log, true
	build(t, start(t, t.TempDir()).dial(t), r)
	const want = "00000000a80405fb" // Docker's a80425fb without bit 13
	for _, set := range []string{"CapPrm", "CapEff", "CapBnd"} {
		if !strings.Contains(log.String(), set+":\t"+want) {
			t.Errorf("%s: got:\n%s\nwant %s", set, &log, want)
		}
	}
}

func needNetwork(t *testing.T, mode string) {
	t.Helper()
	if mode == sandbox.NetworkCNI {
		needRoot(t)
	}
	need := map[string][]string{
		sandbox.NetworkCNI:   {"/usr/lib/cni/bridge", "iptables"},
		sandbox.NetworkSlirp: {"slirp4netns"},
	}
	for _, program := range need[mode] {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf(
				"SKIPPED: network %s needs %s, which is absent (Debian: apt-get install containernetworking-plugins iptables slirp4netns)",
				mode,
				program,
			)
		}
	}
}

// greet sends a greeting to every client, on every address of the machine.
func greet(t *testing.T) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "hello from outside\n")
			_ = conn.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// ownAddress returns an address of this machine that is not loopback.
func ownAddress(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.To4() != nil && !ip.IP.IsLoopback() &&
			!strings.HasPrefix(ip.IP.String(), "10.209.") {
			return ip.IP.String()
		}
	}
	t.Skip("SKIPPED: this machine has no address but loopback")
	return ""
}

// output returns the output of the steps, without their names.
func output(log string) string {
	var out []string
	for _, line := range strings.Split(log, "\n") {
		if !strings.Contains(line, "] RUN ") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}
