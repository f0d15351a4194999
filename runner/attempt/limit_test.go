package attempt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/buildservice"
	"slipway/runner/buildhooks"
	"slipway/runner/spec"
)

// A control has an attempt that met a limit.
type control struct{ limit string }

func (control) Builder(context.Context) (net.Conn, error) { return nil, errors.New("no builder") }
func (control) Sandbox(context.Context, buildservice.Sandbox) (*net.UnixConn, error) {
	return nil, errors.New("no sandbox")
}
func (control) Listener(context.Context, int) (net.Listener, error) {
	return nil, errors.New("no site")
}
func (c control) Limit(context.Context) (string, error) { return c.limit, nil }

func TestAnAttemptThatMetALimitFailsWithItsSetting(t *testing.T) {
	hook := &buildhooks.Failure{Hook: buildhooks.PreBuild, Code: 137}
	const limit = "killed: out of memory, limit 4 GB: SLIPWAY_BUILD_MEMORY"
	const full = "the disk of the build is full, limit 4 GB: SLIPWAY_BUILD_DISK"
	for name, c := range map[string]struct {
		limit  string
		err    error
		state  spec.State
		reason string
		detail string
	}{
		"the limit was met":     {limit, hook, spec.Failed, "oom", "137: " + limit},
		"no limit was met":      {"", hook, spec.Failed, "hook", "137"},
		"another error":         {limit, fs.ErrPermission, spec.Error, "infrastructure", "permission denied"},
		"no error of the build": {limit, nil, spec.Succeeded, "", ""},
		"a full disk":           {full, fs.ErrPermission, spec.Failed, "disk", "permission denied"},
		"a hook on a full disk": {full, hook, spec.Failed, "disk", "137"},
		"a success":             {full, nil, spec.Succeeded, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			j := &job{o: Options{Control: control{c.limit}}, dir: "/"}
			got := resultOf(t.Context(), j.explainLimit(t.Context(), c.err))
			if got.State != c.state {
				t.Errorf("state: got %s, want %s", got.State, c.state)
			}
			if got.Reason != c.reason {
				t.Errorf("reason: got %s, want %s", got.Reason, c.reason)
			}
			if !strings.HasSuffix(got.Detail, c.detail) {
				t.Errorf("detail: got %q, want %q at its end", got.Detail, c.detail)
			}
		})
	}
}

// The service stops a runner whose files exceed their limit with the same signal as the gateway.
func TestARunnerThatIsStoppedForItsDiskFails(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for limit, want := range map[string]spec.State{
		"the disk of the build is full, limit 4 GB: SLIPWAY_BUILD_DISK": spec.Failed,
		"": spec.Cancelled,
	} {
		j := &job{o: Options{Control: control{limit}}}
		got := resultOf(ctx, j.explainLimit(ctx, context.Cause(ctx)))
		if got.State != want {
			t.Errorf("limit %q: got state %s, want %s", limit, got.State, want)
		}
		if !strings.HasPrefix(got.Detail, limit) {
			t.Errorf("limit %q: got detail %q, want the limit in it", limit, got.Detail)
		}
	}
}

// The error of a builder without space for the build's cache is known by its reason, so that the build waits.
func TestNoSpaceForTheCacheHasItsOwnReason(t *testing.T) {
	err := fmt.Errorf("dial the builder: %w", &buildservice.NoSpaceError{Why: "the disk is full"})
	got := resultOf(t.Context(), err)
	want := spec.Result{State: spec.Error, Reason: "space", Detail: "dial the builder: the disk is full"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
}
