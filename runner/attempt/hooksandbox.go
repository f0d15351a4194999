package attempt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"

	"slipway/config/buildservice"
	"slipway/runner/buildhooks"
	"slipway/runner/hookproxy"
	"slipway/runner/sandbox/guest"
	"slipway/runner/sandbox/rootfs"
)

// sandboxPath is the PATH in the sandbox: the directories of a Debian system.
const sandboxPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// sandboxed runs hooks in the sandbox that the builder service made. The service ends the sandbox with
// the attempt.
type sandboxed struct {
	client    *guest.Client
	workspace string // directory outside that the sandbox shares
	// networkOff is the reason why hooks have no network and no proxies; empty = they have both.
	networkOff string
}

var _ HookRunner = sandboxed{}

// openSandbox requests the sandbox from the builder service, and starts the servers in it.
func openSandbox(
	ctx context.Context,
	control Control,
	workspace string,
	proxies *hookproxy.Proxies,
) (HookRunner, error) {
	conn, err := control.Sandbox(ctx, proxies.Sandbox())
	if err != nil {
		return nil, err
	}
	client, err := clientOf(conn)
	if err != nil {
		return nil, err
	}
	var off *buildservice.OffError
	err = proxies.Serve(ctx, control.Listener)
	switch {
	case errors.As(err, &off):
		return sandboxed{client, workspace, off.Error()}, nil
	case err != nil:
		return nil, errors.Join(err, client.Close())
	}
	return sandboxed{client: client, workspace: workspace}, nil
}

// clientOf returns a client on a connection, and closes the original connection.
func clientOf(conn *net.UnixConn) (*guest.Client, error) {
	defer conn.Close()
	socket, err := conn.File()
	if err != nil {
		return nil, fmt.Errorf("open the sandbox for build hooks: %w", err)
	}
	return guest.NewClient(socket)
}

// Share does nothing: the whole workspace is shared.
func (sandboxed) Share(...string) error { return nil }

func (sandboxed) String() string {
	return "level full: a sandbox with its own users, files, network and limits"
}

// Execute runs a hook. Paths of the workspace become those that the hook sees, also in the environment.
// Besides the errors of buildhooks.Executor it returns those of guest, if the sandbox ended.
func (s sandboxed) Execute(ctx context.Context, p buildhooks.Program) error {
	status, err := s.client.Run(ctx, guest.Command{
		Dir:    s.inside(p.Dir),
		Args:   []string{s.inside(p.File)},
		Env:    s.environ(p.Environ),
		Output: p.Output,
		Grace:  p.Grace,
	})
	var notStarted *guest.StartError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("build hook %s: %w", p.Hook, context.Cause(ctx))
	case errors.As(err, &notStarted):
		return &buildhooks.Failure{Hook: p.Hook, Code: -1, Why: buildhooks.StartProblem(notStarted)}
	case err != nil:
		return fmt.Errorf("build hook %s: %w", p.Hook, err)
	case status.Signal != 0:
		return &buildhooks.Failure{Hook: p.Hook, Code: -1, Why: "was " + status.String()}
	case status.Code != 0:
		return &buildhooks.Failure{Hook: p.Hook, Code: status.Code}
	}
	return nil
}

// environ returns an environment as hooks see it.
func (s sandboxed) environ(environ []string) []string {
	inside := make([]string, 0, len(environ))
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		switch {
		case name == "PATH":
			v = sandboxPath
		case strings.HasPrefix(value, s.workspace+"/"):
			v = name + "=" + s.inside(value)
		}
		inside = append(inside, v)
	}
	return inside
}

// inside returns the path by which hooks see a file of the workspace.
func (s sandboxed) inside(path string) string {
	return filepath.Join(rootfs.WorkspacePath, strings.TrimPrefix(path, s.workspace))
}
