package guest

import (
	"fmt"
	"math"
	"net"
	"os"
	"os/signal"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// Argument is the only argument with which the sandbox starts this program as its process 1.
const Argument = "sandbox-init"

// socketFD is the descriptor of the inherited socket: the first one of exec.Cmd.ExtraFiles.
const socketFD = 3

// Requested reports whether the arguments of this program ask for Main. Each program that starts
// sandboxes checks it first in its main function.
func Requested(args []string) bool { return len(args) == 2 && args[1] == Argument }

// Main is process 1 of a sandbox. Its descriptor 3 is the socket to the client. It returns the exit
// code when the client has closed the socket. It must be process 1 of a PID namespace, because it kills
// all processes that it can see.
func Main() int {
	if err := runMain(); err != nil {
		fmt.Fprintln(os.Stderr, "sandbox:", err)
		return 1
	}
	return 0
}

func runMain() error {
	if os.Getpid() != 1 {
		return fmt.Errorf("%s is not process 1 of a PID namespace", Argument)
	}
	// Before anything else: the kernel then denies commands this process's memory and descriptors.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("hide the memory of this process: %w", err)
	}
	// Commands inherit no descriptor, even if the parent left some open.
	if err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("mark descriptors as close-on-exec: %w", err)
	}
	catchSignals()
	if err := startThreads(); err != nil {
		return fmt.Errorf("start threads: %w", err)
	}
	conn, err := takeSocket()
	if err != nil {
		return fmt.Errorf("use descriptor 3 as the socket: %w", err)
	}
	debug.SetGCPercent(400) // output is passed on without allocations, so there is little to collect
	return serve(conn)
}

// catchSignals makes signals of commands harmless. A Go program ends after SIGTERM even as process 1.
// The signals are caught, not ignored, because commands would inherit ignored signals.
func catchSignals() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals) // all signals; the channel drops them when it is full
	go func() {
		for range signals {
			continue
		}
	}()
}

// takeSocket returns the connection of the inherited socket. Commands do not inherit it.
func takeSocket() (net.Conn, error) {
	socket := os.NewFile(socketFD, "socket")
	defer socket.Close()
	return net.FileConn(socket)
}
