package buildkit_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"slipway/runner/buildkit"
)

// A builder may start for a minute. So the first connection is not bounded by gRPC's time limit, and its
// error is the builder's own.
func TestDialThroughWaitsForTheBuilder(t *testing.T) {
	cause := errors.New("start builder: no space left")
	_, err := buildkit.DialThrough(t.Context(), func(ctx context.Context) (net.Conn, error) {
		if deadline, ok := ctx.Deadline(); ok {
			t.Errorf("deadline of the first connection: got %v, want none", deadline)
		}
		return nil, cause
	})
	if !errors.Is(err, cause) {
		t.Errorf("got %v, want %v", err, cause)
	}
}

// The connections have no address that users could look for.
func TestErrorsOfDialThroughShowNoAddress(t *testing.T) {
	_, err := buildkit.DialThrough(t.Context(), func(context.Context) (net.Conn, error) {
		ours, theirs := net.Pipe()
		return ours, theirs.Close()
	})
	if err == nil || !strings.HasPrefix(err.Error(), "the builder does not answer: ") {
		t.Errorf("got %v, want that the builder does not answer", err)
	}
	if strings.Contains(err.Error(), "unix:") {
		t.Errorf("got %v, want no address", err)
	}
}
