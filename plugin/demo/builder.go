package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"slipway/runner/sandbox"
)

// rootBuilder is the script that sudo runs. It starts a builder, and when standard input closes, it
// stops the builder and removes its state. Its arguments are the program, a directory and a group ID.
const rootBuilder = `
"$1" builder --address "unix://$2/builder.sock" --state "$2/state" --socket-group "$3" &
builder=$!
cat >/dev/null
kill "$builder"
wait "$builder"
rm -rf "$2"
`

// builderTimeout is the maximum time for sudo to start a builder, including the password prompt.
const builderTimeout = 2 * time.Minute

// ensureBuilder returns an empty address if the gateway can start a builder by itself: as root, or
// rootless. Otherwise it starts a builder with sudo and returns its address. Call stop at the end.
func ensureBuilder(ctx context.Context, executable string, stderr io.Writer) (address string, stop func(), err error) {
	mode := sandbox.Probe(ctx, sandbox.ProbeOptions{})[0]
	if mode.OK {
		return "", func() {}, nil
	}
	if _, err := exec.LookPath("sudo"); err != nil {
		return "", nil, fmt.Errorf("start a builder: this user lacks the rights: %s; or install sudo", mode.Fix)
	}
	const notice = "the builder needs root on this machine (%s): sudo starts it, everything else runs as you\n"
	fmt.Fprintf(stderr, notice, mode.Fix)
	return startRootBuilder(ctx, executable, stderr)
}

func startRootBuilder(ctx context.Context, executable string, stderr io.Writer) (string, func(), error) {
	dir, err := os.MkdirTemp("", "slipway-builder-")
	if err != nil {
		return "", nil, err
	}
	group := strconv.Itoa(os.Getgid())
	//nolint:gosec,noctx // a constant script; stop ends it
	cmd := exec.Command("sudo", "sh", "-c", rootBuilder, "sh", executable, dir, group)
	cmd.Stdout, cmd.Stderr = stderr, stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, fmt.Errorf("start sudo: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stop := func() {
		stdin.Close()
		if err := <-ended; err != nil {
			fmt.Fprintf(stderr, "builder under sudo: %v\n", err)
		}
	}
	socket := filepath.Join(dir, "builder.sock")
	if err := waitForSocket(ctx, socket, ended); err != nil {
		stdin.Close()
		return "", nil, err
	}
	return "unix://" + socket, stop, nil
}

// waitForSocket waits until the socket exists. It returns an error if sudo ends or ctx ends first.
func waitForSocket(ctx context.Context, socket string, ended <-chan error) error {
	ctx, cancel := context.WithTimeout(ctx, builderTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(socket); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case err := <-ended:
			return fmt.Errorf("start the builder with sudo: it ended: %w", errors.Join(err))
		case <-ctx.Done():
			return fmt.Errorf("start the builder with sudo: no socket %s: %w", socket, ctx.Err())
		}
	}
}
