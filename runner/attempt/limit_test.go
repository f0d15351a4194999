package attempt

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"strings"
	"testing"

	"slipway/config/buildservice"
	"slipway/runner/buildhooks"
	"slipway/runner/spec"
)

func TestADiskIsFull(t *testing.T) {
	for name, c := range map[string]struct {
		use  diskUse
		want string
	}{
		"unknown":             {diskUse{}, ""},
		"has room":            {diskUse{bytes: 10e9, freeBytes: 5e9, freeInodes: 7}, ""},
		"has little room":     {diskUse{bytes: 10e9, freeBytes: 100e6, freeInodes: 7}, ""},
		"has almost no room":  {diskUse{bytes: 10e9, freeBytes: 99e6, freeInodes: 7}, "limit 10 GB: SLIPWAY_BUILD_DISK"},
		"has no further file": {diskUse{bytes: 10e9, freeBytes: 5e9}, "no room for another file: SLIPWAY_BUILD_DISK"},
	} {
		got := c.use.full()
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q in it", name, got, c.want)
		}
	}
}

// A control has a sandbox that met a limit.
type control struct{ limit string }

func (control) Builder(context.Context) (net.Conn, error) { return nil, errors.New("no builder") }
func (control) Sandbox(context.Context, buildservice.Sandbox) (*net.UnixConn, error) {
	return nil, errors.New("no sandbox")
}
func (control) Listener(context.Context, int) (net.Listener, error) {
	return nil, errors.New("no site")
}
func (c control) Limit(context.Context) (string, error) { return c.limit, nil }

func TestAHookThatMetALimitFailsWithItsSetting(t *testing.T) {
	hook := &buildhooks.Failure{Hook: buildhooks.PreBuild, Code: 137}
	const limit = "killed: out of memory, limit 4 GB: SLIPWAY_BUILD_MEMORY"
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
	} {
		t.Run(name, func(t *testing.T) {
			j := &job{o: Options{Control: control{c.limit}}, dir: "/", shared: t.TempDir()}
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
