package buildservice

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/config/secret"
)

// serveAttempt accepts one attempt at a socket, and returns the service's end of its connection.
func serveAttempt(t *testing.T) (a *Attempt, service Conn) {
	t.Helper()
	client := Client{Socket: filepath.Join(t.TempDir(), "socket")}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: client.Socket, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	accepted := make(chan Conn, 1)
	go func() {
		defer close(accepted)
		socket, err := l.AcceptUnix()
		if err != nil {
			return
		}
		c := NewConn(socket)
		var request Request
		if _, err := c.Receive(&request); err == nil && c.Send(Reply{Started: &Empty{}}, nil) == nil {
			accepted <- c
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	a, err = client.Start(ctx, Run{Attempt: "b1-1", Domain: "b1", URL: "http://127.0.0.1", Token: secret.New("t")})
	if err != nil {
		t.Fatal(err)
	}
	service = <-accepted
	t.Cleanup(func() { service.Close() })
	return a, service
}

// A detached attempt continues: the service sees no closed connection, and the process that adopts it gets the
// end.
func TestADetachedAttemptIsAdopted(t *testing.T) {
	a, service := serveAttempt(t)
	file, ok := a.Detach()
	if !ok {
		t.Fatal("detach: got no connection, want one")
	}
	if !a.Detached() {
		t.Error("attempt: got it not detached, want it detached")
	}
	adopted, err := Adopt(file)
	if err != nil {
		t.Fatal(err)
	}
	adopted.Stop()
	var request Request
	if _, err := service.Receive(&request); err != nil || request.Stop == nil {
		t.Errorf("request: got %+v, error %v, want Stop", request, err)
	}
	want := Ended{Error: "exit status 1", Output: "it failed"}
	if err := service.Send(Reply{Ended: &want}, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, adopted.Wait()); diff != "" {
		t.Errorf("end (-want +got):\n%s", diff)
	}
	if adopted.Detached() {
		t.Error("adopted attempt: got it detached, want it ended")
	}
}

// An attempt that has ended has no connection to pass on.
func TestAnEndedAttemptIsNotDetached(t *testing.T) {
	a, service := serveAttempt(t)
	if err := service.Send(Reply{Ended: &Ended{}}, nil); err != nil {
		t.Fatal(err)
	}
	a.Wait()
	if _, ok := a.Detach(); ok {
		t.Error("detach: got a connection, want none")
	}
}
