package attemptserver_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"slipway/runner/attemptserver"
)

// insideVariable makes this program the first process of a new network namespace.
const insideVariable = "SLIPWAY_TEST_INSIDE"

func TestMain(m *testing.M) {
	if os.Getenv(insideVariable) != "" {
		if err := inside(); err != nil {
			_, _ = os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// inside brings the loopback device up, passes a listener on port 443 out, and sends it a request.
func inside() error {
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return errors.Join(err, errors.New(string(out)))
	}
	l, err := net.Listen("tcp", "127.0.0.1:443")
	if err != nil {
		return err
	}
	file := os.NewFile(3, "socket")
	conn, err := net.FileConn(file)
	if err != nil {
		return err
	}
	if err := attemptserver.SendListener(conn.(*net.UnixConn), l.(*net.TCPListener)); err != nil {
		return err
	}
	for _, c := range []io.Closer{l, conn, file} {
		if err := c.Close(); err != nil {
			return err
		}
	}
	resp, err := http.Get("http://127.0.0.1:443/")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(os.Stdout, resp.Body)
	return err
}

// socketPair returns two connected Unix sockets.
func socketPair(t *testing.T) (ours *net.UnixConn, theirs *os.File) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(pair[0]), "ours")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		t.Fatal(err)
	}
	theirs = os.NewFile(uintptr(pair[1]), "theirs")
	t.Cleanup(func() { conn.Close(); theirs.Close() })
	return conn.(*net.UnixConn), theirs
}

// serveUID answers with this process's user, which shows that it serves from outside.
func serveUID(t *testing.T, l net.Listener) {
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "served by uid %d outside", os.Getuid())
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close() })
}

// An ordinary user listens in the namespace with the first process in it. A test that runs as root
// makes that process's user namespace all the same.
func TestListenerIsPassedOut(t *testing.T) {
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("ip (iproute2) is not installed")
	}
	ours, theirs := socketPair(t)
	place := exec.Command("/proc/self/exe")
	place.Env = append(os.Environ(), insideVariable+"=1")
	place.ExtraFiles = []*os.File{theirs}
	var out, errs strings.Builder
	place.Stdout, place.Stderr = &out, &errs
	place.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	if err := place.Start(); errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) {
		t.Skipf("user namespaces are not allowed here: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	l, err := attemptserver.ReceiveListener(ours)
	if err != nil {
		t.Fatalf("receive the listener: %v; the process inside: %v %s", err, place.Wait(), &errs)
	}
	serveUID(t, l)
	if err := place.Wait(); err != nil {
		t.Fatalf("the process inside: %v\n%s", err, &errs)
	}
	if got, want := out.String(), fmt.Sprintf("served by uid %d outside", os.Getuid()); got != want {
		t.Errorf("response: got %q, want %q", got, want)
	}
}

func TestReceiveListenerRefusesOtherThings(t *testing.T) {
	for name, send := range map[string]func(to *net.UnixConn) error{
		"no descriptor": func(to *net.UnixConn) error { _, err := to.Write([]byte{0}); return err },
		"a file": func(to *net.UnixConn) error {
			_, _, err := to.WriteMsgUnix([]byte{0}, unix.UnixRights(0), nil)
			return err
		},
		"the end": func(to *net.UnixConn) error { return to.CloseWrite() },
	} {
		ours, theirs := socketPair(t)
		conn, err := net.FileConn(theirs)
		if err != nil {
			t.Fatal(err)
		}
		if err := send(conn.(*net.UnixConn)); err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if l, err := attemptserver.ReceiveListener(ours); err == nil {
			l.Close()
			t.Errorf("%s: got a listener, want an error", name)
		}
	}
}

// Two attempts have port 443 each, at the same time, and no way out besides.
func TestListenInsideTwoNetworks(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to enter a network namespace")
	}
	for _, program := range []string{"unshare", "ip", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	outside := listen(t)
	serveUID(t, outside)
	for range 2 {
		place := exec.Command("unshare", "--net", "sh", "-c",
			"ip link set lo up && echo ready && read x && curl -sS -m 5 http://127.0.0.1:443/ && "+
				"! curl -s -m 2 http://"+outside.Addr().String())
		// No Pdeathsig: Listen ends a thread, and the kernel takes that for the parent's end if the
		// process was started on it. The end of its input ends the shell.
		in, err := place.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := place.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := place.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", place.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		l, err := attemptserver.Listen(t.Context(), namespace, "127.0.0.1:443")
		if err != nil {
			t.Fatal(err)
		}
		namespace.Close()
		serveUID(t, l)
		if _, err := io.WriteString(in, "\n"); err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(lines)
		if err != nil {
			t.Fatal(err)
		}
		if err := place.Wait(); err != nil {
			t.Errorf("inside: %v", err)
		}
		if got := string(text); got != "served by uid 0 outside" {
			t.Errorf(`response: got %q, want "served by uid 0 outside"`, got)
		}
	}
}

func TestListenInNoNamespace(t *testing.T) {
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if l, err := attemptserver.Listen(t.Context(), file, "127.0.0.1:0"); err == nil {
		l.Close()
		t.Error("listen in a file that is no namespace: got a listener, want an error")
	}
}
