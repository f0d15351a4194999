package buildservice

import (
	"context"
	"testing"
	"time"

	"slipway/config/must"
)

// The end of an earlier call's context may set the deadline a moment too late.
func TestALateDeadlineDoesNotEndTheNextCall(t *testing.T) {
	ours, file, err := Pair()
	must.Succeed(t, err)
	defer ours.Close()
	service, err := FileConn(file)
	must.Succeed(t, err)
	defer service.Close()
	c := &Control{conn: ours}
	go func() {
		var request RunnerRequest
		_, _ = service.Receive(&request) // the call waits for its reply
		ours.SetReadDeadline(time.Unix(1, 0))
		time.AfterFunc(50*time.Millisecond, func() {
			_ = service.Send(RunnerReply{ID: request.ID, Limit: "a limit"}, nil)
		})
	}()
	got, err := c.Limit(t.Context())
	if err != nil || got != "a limit" {
		t.Errorf("got %q, error %v, want the reply", got, err)
	}
}

func TestACallEndsWithItsContext(t *testing.T) {
	ours, file, err := Pair()
	must.Succeed(t, err)
	defer ours.Close()
	defer file.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := (&Control{conn: ours}).Limit(ctx); err == nil {
		t.Error("a service that does not reply: got no error, want one")
	}
}
