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

// rootBuilder is what sudo runs: a builder that ends, and takes its state along, when
// standard input closes. Its arguments are the program, a directory and a group.
const rootBuilder = `
"$1" builder --address "unix://$2/builder.sock" --state "$2/state" --socket-group "$3" &
builder=$!
cat >/dev/null
kill "$builder"
wait "$builder"
rm -rf "$2"
`

// builderStart bounds how long a builder under sudo may take, a person's password included.
const builderStart = 2 * time.Minute

// ensureBuilder returns "" where the gateway can start a builder of its own: as root, or
// rootless. Elsewhere it starts one through sudo and returns its address.
func ensureBuilder(ctx context.Context, executable string, stderr io.Writer) (address string, stop func(), err error) {
	mode := sandbox.Probe(ctx, sandbox.ProbeOptions{})[0]
	if mode.OK {
		return "", func() {}, nil
	}
	if _, err := exec.LookPath("sudo"); err != nil {
		return "", nil, fmt.Errorf("the builder cannot run here: %s; or install sudo", mode.Mend)
	}
	fmt.Fprintf(
		stderr,
		"the builder needs root here (%s): starting it through sudo, everything else runs as you\n",
		mode.Mend,
	)
	return startRootBuilder(ctx, executable, stderr)
}

func startRootBuilder(ctx context.Context, executable string, stderr io.Writer) (string, func(), error) {
	dir, err := os.MkdirTemp("", "slipway-builder-")
	if err != nil {
		return "", nil, err
	}
	cmd := exec.Command(
		"sudo",
		"sh",
		"-c",
		rootBuilder,
		"sh",
		executable,
		dir,
		strconv.Itoa(os.Getgid()),
	) //nolint:gosec,noctx // our own words; the end of its input ends it
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
			fmt.Fprintf(stderr, "the builder under sudo ended: %v\n", err)
		}
	}
	socket := filepath.Join(dir, "builder.sock")
	if err := awaitSocket(ctx, socket, ended); err != nil {
		stdin.Close()
		return "", nil, err
	}
	return "unix://" + socket, stop, nil
}

// awaitSocket returns when the socket is there, or sudo ended without one.
func awaitSocket(ctx context.Context, socket string, ended <-chan error) error {
	ctx, cancel := context.WithTimeout(ctx, builderStart)
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
			return fmt.Errorf("the builder under sudo ended: %w", errors.Join(err))
		case <-ctx.Done():
			return fmt.Errorf("the builder under sudo did not start: %w", ctx.Err())
		}
	}
}
