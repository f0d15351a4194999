package guest_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipway/runner/sandbox/guest"
)

// frame returns a frame with a length that need not be true.
func frame(kind byte, length uint32, content string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, length), content...)
}

// takenOver returns a client, and the socket with which the test sends any frame in place of process 1.
func takenOver(t *testing.T) (*guest.Client, net.Conn) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c, err := guest.NewClient(os.NewFile(uintptr(pair[0]), "client"))
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(pair[1]), "hostile")
	conn, err := net.FileConn(file)
	file.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); conn.Close() })
	return c, conn
}

func TestTheClientRefusesHostileReplies(t *testing.T) {
	for name, tc := range map[string]struct {
		reply []byte
		want  error
	}{
		"unknown frame":            {frame('?', 0, ""), guest.ErrProtocol},
		"a request":                {frame('r', 2, "{}"), guest.ErrProtocol},
		"a second greeting":        {frame('h', 0, ""), guest.ErrProtocol},
		"output of 4 GiB":          {frame('o', 1<<32-1, "x"), guest.ErrProtocol},
		"output above the limit":   {frame('o', 32<<10+1, "x"), guest.ErrProtocol},
		"a long end":               {frame('e', 6, "x\x00\x00\x00\x00\x00"), guest.ErrProtocol},
		"a short end":              {frame('e', 1, "x"), guest.ErrProtocol},
		"an unknown end":           {frame('e', 5, "?\x00\x00\x00\x00"), guest.ErrProtocol},
		"exit code 256":            {frame('e', 5, "x\x00\x00\x01\x00"), guest.ErrProtocol},
		"exit code 65536":          {frame('e', 5, "x\x00\x01\x00\x00"), guest.ErrProtocol},
		"signal 0":                 {frame('e', 5, "s\x00\x00\x00\x00"), guest.ErrProtocol},
		"signal 65":                {frame('e', 5, "s\x00\x00\x00\x41"), guest.ErrProtocol},
		"errno 4096":               {frame('e', 5, "n\x00\x00\x10\x00"), guest.ErrProtocol},
		"end of the stream":        {nil, guest.ErrEnded},
		"end in a frame's header":  {[]byte("o\x00"), guest.ErrEnded},
		"end in a frame's content": {frame('o', 9, "abc"), guest.ErrEnded},
	} {
		c, conn := takenOver(t)
		_, _ = conn.Write(tc.reply)
		if errors.Is(tc.want, guest.ErrEnded) {
			if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.Run(t.Context(), guest.Command{Args: []string{"x"}}); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
		if _, err := c.Run(t.Context(), guest.Command{Args: []string{"x"}}); !errors.Is(err, tc.want) {
			t.Errorf("%s, next command: got %v, want %v", name, err, tc.want)
		}
	}
}

func TestTheGreetingIsChecked(t *testing.T) {
	c, conn := takenOver(t)
	_, _ = conn.Write(frame('e', 5, "x\x00\x00\x00\x00"))
	if err := c.WaitReady(t.Context()); !errors.Is(err, guest.ErrProtocol) {
		t.Errorf("an end: got %v, want %v", err, guest.ErrProtocol)
	}
	c, _ = takenOver(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := c.WaitReady(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no greeting: got %v, want %v", err, context.DeadlineExceeded)
	}
}

// A process 1 that was taken over may send output forever, and not react to the end of the context.
func TestTheClientDoesNotWaitForAHostileProcessOne(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: takes the client's time for replies, 10 s")
	}
	t.Parallel()
	c, conn := takenOver(t)
	go func() {
		flood := bytes.Repeat(frame('o', 1, "x"), 1000)
		for {
			if _, err := conn.Write(flood); err != nil {
				return
			}
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := c.Run(ctx, guest.Command{Args: []string{"x"}, Output: io.Discard, Grace: time.Millisecond})
	if !errors.Is(err, guest.ErrProtocol) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v and the context's cause", err, guest.ErrProtocol)
	}
}
