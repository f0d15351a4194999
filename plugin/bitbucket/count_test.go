package bitbucket_test

import (
	"net/http"
	"sync/atomic"
	"testing"

	"slipway/plugin/bitbucket"
)

func TestRequestsAreCountedWithTheirRetries(t *testing.T) {
	var answered atomic.Int32
	c := serve(t, answers(&answered, reply(503, "", ""), reply(503, "", ""), fine))
	ctx, count := bitbucket.CountRequests(t.Context())
	if _, err := c.Do(ctx, bitbucket.Request{Method: http.MethodGet, Path: "/2.0/x"}, nil); err != nil {
		t.Fatal(err)
	}
	if got := count.Sent(); got != 3 {
		t.Errorf("counted requests: got %d, want 3", got)
	}
	if got := int(answered.Load()); got != 3 {
		t.Errorf("answered requests: got %d, want 3", got)
	}
}
