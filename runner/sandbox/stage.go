package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/urfave/cli/v3"

	"slipway/runner/sandbox/crashsafe"
)

// If BuildKit is killed, its containers keep running and their file systems stay mounted. So the
// server runs in its own PID and mount namespaces. The kernel removes these with their last process.
// There are three stages:
//
//	launch   the process that the caller starts and signals; it stays outside. A step is the launch
//	         stage of its own builder
//	init     PID 1 of the namespaces: it mounts, starts the server, and reaps orphans
//	serve    the server
//
// In a step's own builder, init is the server itself and reaps nothing. The builder and its orphans
// end soon anyway, and this saves the start of one program.
//
// Each stage except a step is this program with the same arguments. launch holds a pipe open. When
// launch ends, even by a crash, init reads the end of the pipe and exits. Then the kernel kills all
// other processes in the namespaces. PR_SET_PDEATHSIG does not work, because the kernel clears it when
// init gets its capabilities.
//
// In a container with a masked /proc there is no PID namespace, and init is an ordinary process. If
// init is not the server, the server ends with it. The processes that the server has started end with
// the container.
const (
	stageInit = "init"
	stageMap  = "map" // init, before its ids are mapped
	stageRun  = "serve"

	// StopGrace is the time that running solves get to finish after a stop request.
	StopGrace = 3 * time.Second
	// KillGrace is the time from SIGTERM until SIGKILL. In it, the server cancels its solves, closes BuildKit, and
	// writes its cache to the disk, or else the cache is lost at the next boot of the machine. The end of a builder
	// after a step that wrote 2 GB takes 0.4 s if the build is complete, because BuildKit's databases have synced its
	// files, and 5.5 s if it is canceled. A disk with 100 MB/s needs 20 s. The kernel ends no process during
	// syncfs(2), so an early SIGKILL would save no time.
	KillGrace = StopGrace + 30*time.Second

	// File descriptors of the pipes in init.
	controlFD = 3 // closed when launch ends; receives one byte after the ids are mapped
	statusFD  = 4 // init writes the result of the mounts
)

// Environment variables that a stage gives to the next one.
const (
	stageVar      = "SLIPWAY_BUILDER_STAGE"
	launchPIDVar  = "SLIPWAY_BUILDER_LAUNCH_PID"
	inProcessVar  = "SLIPWAY_BUILDER_IN_PROCESS"
	ephemeralVar  = "SLIPWAY_BUILDER_EPHEMERAL"
	contextVar    = "SLIPWAY_BUILDER_CONTEXT"
	sharedPIDsVar = "SLIPWAY_BUILDER_SHARED_PIDS"
	machineVar    = "SLIPWAY_BUILDER_MACHINE"
)

// A stage holds the variables that this process got from the stage before.
type stage struct {
	name       string // init, map or serve; empty = launch
	launchPID  int    // process ID of launch; 0 = unknown
	inProcess  bool   // init is also the server
	ephemeral  bool   // the state is deleted with the builder
	context    string // directory of the build context; only with inProcess
	sharedPIDs bool   // the server shares the PID namespace and /proc of launch
	inherited  bool   // a supervisor has given files to the builder (Inheritance)
	machine    crashsafe.Machine
	network    Network
}

func readStage(getenv func(name string) string) stage {
	launchPID, err := strconv.Atoi(getenv(launchPIDVar))
	if err != nil {
		launchPID = 0 // this process is launch
	}
	return stage{
		name:       getenv(stageVar),
		launchPID:  launchPID,
		inProcess:  getenv(inProcessVar) != "",
		ephemeral:  getenv(ephemeralVar) != "",
		context:    getenv(contextVar),
		sharedPIDs: getenv(sharedPIDsVar) != "",
		inherited:  getenv(inheritedVar) != "",
		machine:    crashsafe.ParseMachine(getenv(machineVar)),
		network:    readNetwork(getenv),
	}
}

// An Environment describes the process in which a server runs. The zero value is an ordinary process.
type Environment struct {
	// PID is the server's process ID outside its namespaces: that of launch. 0 = that of this process.
	PID          int
	IsolatedPIDs bool // the process has a PID namespace and a /proc of its own
	Ephemeral    bool // the state is deleted when the server ends
	// Machine is the machine as launch sees it, outside the server's namespaces.
	Machine crashsafe.Machine
	// Context is the directory from which the server reads the build context. If it is empty, clients
	// send the context. A server for more than one build has none.
	Context string
	// Network is the network that a supervisor has made for the server.
	Network Network
	// Inherited holds the files that a supervisor has given to the server.
	Inherited Inheritance
}

func (s stage) environment() Environment {
	e := Environment{Ephemeral: s.ephemeral, Machine: s.machine, Network: s.network}
	if s.inProcess { // for one step: other clients must not get the files of this directory
		e.Context = s.context
	}
	switch s.name {
	case stageRun:
		e.IsolatedPIDs = !s.sharedPIDs && os.Getppid() == 1
		e.PID = s.launchPID
	case stageInit:
		e.IsolatedPIDs = !s.sharedPIDs && os.Getpid() == 1
		e.PID = s.launchPID
	}
	return e
}

// Serve runs a server until ctx ends.
type Serve func(ctx context.Context, e Environment) error

// RunOptions configure Run. State is required.
type RunOptions struct {
	State    string   // directory of the cache
	ReadOnly []string // directories that the server and its builds can only read
}

// Run runs the current stage of a builder: it starts the next stage, or calls serve.
func Run(ctx context.Context, o RunOptions, serve Serve) error {
	s := readStage(os.Getenv)
	if s.name == stageMap {
		return awaitMap()
	}
	inherited, err := s.inherit()
	if err != nil {
		return fmt.Errorf("start the builder: %w", err)
	}
	switch s.name {
	case stageInit:
		return s.runInit(ctx, o, inherited, serve)
	case stageRun:
		e := s.environment()
		e.Inherited = inherited
		return serve(ctx, e)
	default:
		return launch(ctx, planIsolation(readMachine()), inherited)
	}
}

// selfCommand returns a command that runs this program with the same arguments, in another stage.
func selfCommand(stage string) *exec.Cmd {
	//nolint:gosec,noctx // this program itself; the stage before stops it
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdout = os.Stdout
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), stageVar+"="+stage)
	return cmd
}

// forward sends SIGTERM to a process when ctx ends, and SIGKILL if it has not ended after KillGrace.
// The caller calls stop after the process has ended.
func forward(ctx context.Context, process started) (stop func()) {
	done := make(chan struct{})
	go func() {
		select {
		case <-done:
			return
		case <-ctx.Done():
		}
		process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(KillGrace):
			process.Signal(syscall.SIGKILL)
		}
	}()
	return func() { close(done) }
}

// exitWith converts an exit error to an error with the same exit code and no text, because the failed
// stage has already printed its error.
func exitWith(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return cli.Exit("", max(exit.ExitCode(), 1))
	}
	return err
}

// awaitMap waits until launch has mapped the ids, and then executes this program again. Only then does
// the kernel give root of the namespace its capabilities.
func awaitMap() error {
	if n, err := syscall.Read(controlFD, make([]byte, 1)); n != 1 {
		return fmt.Errorf("builder: user ids were not mapped: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	if err := os.Setenv(stageVar, stageInit); err != nil {
		return fmt.Errorf("start the builder after its user ids are mapped: %w", err)
	}
	err := syscall.Exec("/proc/self/exe", os.Args, os.Environ()) //nolint:gosec // this program itself
	return fmt.Errorf("start the builder after its user ids are mapped: %w", err)
}
