package store_test

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"slipway/plugin/store"
)

// F7: a database that vanishes, and says nothing, is noticed in seconds by whoever waits for it:
// the system breaks the connection when nothing is acknowledged.
func TestF7AServerThatVanishedIsNotWaitedFor(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	connection, err := store.DialPostgres(t.Context(), listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	raw, err := connection.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	option := func(level, name int) (value int) {
		t.Helper()
		var got error
		if err := raw.Control(func(fd uintptr) { value, got = unix.GetsockoptInt(int(fd), level, name) }); err != nil ||
			got != nil {
			t.Fatal(err, got)
		}
		return value
	}
	if ms := option(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT); ms <= 0 || ms > 30_000 {
		t.Errorf("what was sent may stay unacknowledged for %d ms", ms)
	}
	silence := option(
		unix.IPPROTO_TCP,
		unix.TCP_KEEPIDLE,
	) + option(
		unix.IPPROTO_TCP,
		unix.TCP_KEEPINTVL,
	)*option(
		unix.IPPROTO_TCP,
		unix.TCP_KEEPCNT,
	)
	if option(unix.SOL_SOCKET, unix.SO_KEEPALIVE) == 0 || silence > 30 {
		t.Errorf("an answer is awaited for %d s from a server that is gone", silence)
	}
}
