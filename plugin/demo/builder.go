package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"slipway/config/process"
	"slipway/runner/sandbox"
)

// rootService is the script that sudo runs. It starts a builder service, and when standard input closes,
// it stops the service and removes its state. Its arguments are the program, the directory of the
// socket, the user of the gateway, and the registry. The state is in a directory of root, because a user
// could replace directories in their own one by links.
const rootService = `
state=$(mktemp -d /var/tmp/slipway-builder-XXXXXX) && chmod 0711 "$state" || exit
"$1" builder service --socket "$2/service.sock" --state "$state" --gateway-user "$3" --local-registry "$4" --builds 2 &
service=$!
cat >/dev/null
kill "$service"
wait "$service"
rm -rf "$state" "$2"
`

// serviceTimeout is the maximum time for sudo to start a service, including the password prompt.
const serviceTimeout = 2 * time.Minute

// ensureService returns an empty path if the gateway can start a builder service by itself: as root, or
// rootless. Otherwise it starts one with sudo and returns the path of its socket. Call stop at the end.
// registry is the registry on this machine that builds may use.
func ensureService(
	ctx context.Context, executable, registry string, stderr io.Writer,
) (socket string, stop func(), err error) {
	mode := sandbox.Probe(ctx, sandbox.ProbeOptions{})[0]
	if mode.OK {
		return "", func() {}, nil
	}
	if _, err := exec.LookPath("sudo"); err != nil {
		return "", nil, fmt.Errorf("start a builder: this user lacks the rights: %s; or install sudo", mode.Fix)
	}
	const notice = "builds need root on this machine (%s): sudo starts the builder service, everything else runs as you\n"
	fmt.Fprintf(stderr, notice, mode.Fix)
	return startRootService(ctx, executable, registry, stderr)
}

func startRootService(
	ctx context.Context, executable, registry string, stderr io.Writer,
) (string, func(), error) {
	dir, err := os.MkdirTemp("", "slipway-builder-")
	if err != nil {
		return "", nil, err
	}
	//nolint:gosec // runners with users of their own pass through the directory
	if err := os.Chmod(dir, 0o711); err != nil {
		return "", nil, err
	}
	user := strconv.Itoa(os.Getuid())
	//nolint:gosec,noctx // a constant script; stop ends it
	cmd := exec.Command("sudo", "sh", "-c", rootService, "sh", executable, dir, user, registry)
	output := &warnings{to: stderr}
	cmd.Stdout, cmd.Stderr = output, output
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, fmt.Errorf("start sudo: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := cmd.Wait(); err != nil {
			fmt.Fprintf(stderr, "builder service under sudo: %v\n", err)
		}
	}()
	stop := func() {
		stdin.Close()
		<-ended
		_ = os.RemoveAll(dir) // the script has removed it, unless sudo did not start it
	}
	socket := filepath.Join(dir, "service.sock")
	if err := waitForSocket(ctx, socket, ended); err != nil {
		stop()
		return "", nil, err
	}
	return socket, stop, nil
}

// waitForSocket waits until the socket exists. It returns an error if sudo ends or ctx ends first.
func waitForSocket(ctx context.Context, socket string, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, serviceTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(socket); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ended:
			return fmt.Errorf("start the builder service with sudo: it ended without a socket %s", socket)
		case <-ctx.Done():
			return fmt.Errorf("start the builder service with sudo: no socket %s: %w", socket, ctx.Err())
		}
	}
}

// warnings writes the lines that are no information of the service, such as its warnings and the
// messages of sudo.
type warnings struct {
	to   io.Writer
	rest []byte // the start of the next line
}

// Write never fails.
func (w *warnings) Write(data []byte) (int, error) {
	w.rest = append(w.rest, data...)
	for {
		line, rest, found := bytes.Cut(w.rest, []byte("\n"))
		if !found {
			return len(data), nil
		}
		if process.IsWarning(string(line)) {
			fmt.Fprintf(w.to, "%s\n", line)
		}
		w.rest = rest
	}
}
