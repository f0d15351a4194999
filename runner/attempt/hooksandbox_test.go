package attempt

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"slipway/config/buildservice"
	"slipway/config/discard"
	"slipway/config/secret"
	"slipway/runner/hookproxy"
)

// A sandboxControl has a sandbox whose listeners cannot be opened.
type sandboxControl struct {
	control
	listenErr error
}

func (sandboxControl) Sandbox(ctx context.Context, _ buildservice.Sandbox) (*net.UnixConn, error) {
	conn, file, err := buildservice.Pair()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	c, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	socket, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.New("no Unix socket")
	}
	return socket, nil
}

func (c sandboxControl) Listener(context.Context, int) (net.Listener, error) { return nil, c.listenErr }

// A sandbox without a network runs hooks, without the proxies.
func TestASandboxWithoutANetworkHasNoProxies(t *testing.T) {
	proxies, err := hookproxy.New(t.Context(), hookproxy.Options{
		Source: "https://bitbucket.org/acme/app.git", Gateway: "https://slipway.example.com/git/b1",
		Token: secret.New("token"), End: time.Now().Add(time.Hour), Log: discard.Logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxies.Close)
	off := &buildservice.OffError{Why: "the sandbox has no network"}
	runner, err := openSandbox(t.Context(), sandboxControl{listenErr: off}, t.TempDir(), proxies)
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := runner.(sandboxed); !ok || s.networkOff != off.Why {
		t.Errorf("runner: got %+v, want the reason %q", runner, off.Why)
	}
	failure := errors.New("address in use")
	if _, err := openSandbox(
		t.Context(),
		sandboxControl{listenErr: failure},
		t.TempDir(),
		proxies,
	); !errors.Is(
		err,
		failure,
	) {
		t.Errorf("another error: got %v, want %v", err, failure)
	}
}
