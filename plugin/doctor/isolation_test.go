package doctor_test

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"slipway/config/buildservice"
	"slipway/config/must"
)

// serveLevel serves the level of a builder service at a socket.
func serveLevel(t *testing.T, level buildservice.Level) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "service.sock")
	listener := must.Get[*net.UnixListener](t)(
		net.ListenUnix("unixpacket", &net.UnixAddr{Name: socket, Net: "unixpacket"}))
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.AcceptUnix()
			if err != nil {
				return
			}
			conn := buildservice.NewConn(c)
			var request buildservice.Request
			if _, err := conn.Receive(&request); err == nil && request.Check != nil {
				_ = conn.Send(buildservice.Reply{Level: &level}, nil) // the client reports an error
			}
			conn.Close()
		}
	}()
	return socket
}

func TestDoctorReportsTheIsolation(t *testing.T) {
	all := settings(t, bitbucket(t, 0))
	output, _ := run(t, all...)
	wantLines(
		t,
		output,
		"- isolation    not known: the gateway's builder service does not run: start the gateway, and see its log",
	)
	full := serveLevel(t, buildservice.Level{Hooks: buildservice.LevelFull, NotHeld: []string{"memory: no cgroups"}})
	output, _ = run(t, append(all, "SLIPWAY_BUILDER_SERVICE="+full)...)
	wantLines(t, output, "✓ isolation    full: build hooks run in a sandbox; limits without effect: memory: no cgroups")
	off := serveLevel(t, buildservice.Level{Hooks: buildservice.LevelOff, Why: "runc is absent"})
	output, _ = run(t, append(all, "SLIPWAY_BUILDER_SERVICE="+off)...)
	wantLines(t, output, "✓ isolation    off: build hooks do not run: runc is absent")
	output, _ = run(t, append(all, "SLIPWAY_BUILDER_SERVICE=/no/such.sock")...)
	wantLines(t, output, "✕ isolation    SLIPWAY_BUILDER_SERVICE=/no/such.sock: ", "start slipway-builder-service")
}

func TestDoctorReportsTheUserOfTheGateway(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: files of another user need root, which is absent")
	}
	all := settings(t, bitbucket(t, 0))
	output, _ := run(t, all...)
	wantLines(t, output, "✓ user         the gateway runs as root: run it as an ordinary user")
	data := t.TempDir()
	must.Succeed(t, os.Chown(data, 64500, 64500))
	output, _ = run(t, append(all, "SLIPWAY_DATA="+data)...)
	wantLines(t, output, "✓ user         the gateway is not root (user 64500)")
}
