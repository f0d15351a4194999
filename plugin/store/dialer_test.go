package store_test

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"slipway/plugin/store"
)

// F7: The loss of a database server is detected within seconds: the system breaks a connection
// whose data is not acknowledged.
func TestF7AVanishedServerIsDetected(t *testing.T) {
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
	ms := option(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
	if ms <= 0 {
		t.Errorf("TCP_USER_TIMEOUT: got %d ms, want more than 0", ms)
	}
	if ms > 30_000 {
		t.Errorf("TCP_USER_TIMEOUT: got %d ms, want at most 30 s", ms)
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
	if option(unix.SOL_SOCKET, unix.SO_KEEPALIVE) == 0 {
		t.Error("SO_KEEPALIVE: got off, want on")
	}
	if silence > 30 {
		t.Errorf("time to detect a dead server: got %d s, want at most 30", silence)
	}
}
