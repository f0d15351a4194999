package netns_test

import (
	"errors"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"slipway/config/must"
	"slipway/runner/sandbox/netns"
)

func newNamespace(t *testing.T) *os.File {
	t.Helper()
	namespace, err := netns.New(func() error { return nil })
	if errors.Is(err, unix.EPERM) {
		t.Skip("SKIPPED: making network namespaces is not permitted: run the tests as root")
	}
	must.Succeed(t, err)
	t.Cleanup(func() { namespace.Close() })
	return namespace
}

func TestFunctionsRunInTheNamespace(t *testing.T) {
	namespace := newNamespace(t)
	want := must.Get[string](t)(os.Readlink(netns.Path(namespace)))
	var got string
	must.Succeed(t, netns.Do(namespace, func() (err error) {
		got, err = os.Readlink("/proc/thread-self/ns/net")
		return err
	}))
	if got != want {
		t.Errorf("got namespace %s, want %s", got, want)
	}
}

func TestErrorsOfFunctionsAreReturned(t *testing.T) {
	want := errors.New("a cause")
	if err := netns.Do(newNamespace(t), func() error { return want }); !errors.Is(err, want) {
		t.Errorf("Do: got %v, want %v", err, want)
	}
	if _, err := netns.New(func() error { return want }); !errors.Is(err, want) {
		t.Errorf("New: got %v, want %v", err, want)
	}
}

// The main thread cannot end. If a function ran on it, it would stay in the namespace.
func TestNoThreadStaysInANamespace(t *testing.T) {
	outside := must.Get[string](t)(os.Readlink("/proc/self/ns/net"))
	namespace := newNamespace(t)
	for range 200 {
		must.Succeed(t, netns.Do(namespace, func() error {
			if unix.Gettid() == unix.Getpid() {
				t.Error("got a function on the main thread, want another thread")
			}
			return nil
		}))
	}
	if got := must.Get[string](t)(os.Readlink("/proc/self/ns/net")); got != outside {
		t.Errorf("the main thread: got namespace %s, want %s", got, outside)
	}
}

func TestSocketsStayInTheNamespace(t *testing.T) {
	namespace := newNamespace(t)
	var interfaces []net.Interface
	must.Succeed(t, netns.Do(namespace, func() (err error) {
		interfaces, err = net.Interfaces()
		return err
	}))
	if len(interfaces) != 1 {
		t.Errorf("got %d interfaces, want loopback alone", len(interfaces))
	}
}
