package localenv

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config"
	"slipway/config/process"
	"slipway/config/secret"
	"slipway/plugin"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
)

const (
	startTimeout = 30 * time.Second // until a gateway is ready
	stopTimeout  = time.Minute      // until a gateway that does not stop is killed
)

// A Gateway is the gateway of an environment. It runs in this process, or as a child process that
// tests can kill. Tests read its state from its database (Store).
type Gateway struct {
	URL  string
	Data string

	executable  string
	child       bool
	user        int // uid and gid of a child; 0 = this process's
	environment []string
	logFile     string
	database    secret.Secret // address of PostgreSQL; zero = SQLite

	gateway *plugin.Gateway  // nil if it runs as a child
	process *process.Process // nil if it runs in this process
	stop    func()           // nil if it does not run
	done    <-chan struct{}  // closed when it has ended
}

// Start starts the gateway and waits until it is ready.
func (g *Gateway) Start(ctx context.Context) error {
	log, err := os.OpenFile(g.logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	start := g.startInProcess
	if g.child {
		start = g.startChild
	}
	if err := start(ctx, log); err != nil {
		return errors.Join(err, log.Close())
	}
	return g.waitReady(ctx)
}

func (g *Gateway) startInProcess(ctx context.Context, logTo *os.File) error {
	c, err := config.LoadGateway(g.environment)
	if err != nil {
		return err
	}
	log := logrus.New()
	log.SetOutput(logTo)
	log.SetFormatter(&logrus.JSONFormatter{})
	gateway, err := plugin.New(ctx, plugin.Options{Config: c, Log: log})
	if err != nil {
		return err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer logTo.Close()
		if err := gateway.Run(run); err != nil {
			log.WithError(err).Error("gateway ended")
		}
	}()
	g.gateway, g.stop, g.done = gateway, stop, done
	return nil
}

// Routes returns the routes of a gateway in this process, e.g. "GET /builds/:number". It returns nil
// for a child.
func (g *Gateway) Routes() []string {
	if g.gateway == nil {
		return nil
	}
	return g.gateway.Routes()
}

// giveData makes the data directory for a gateway with a user of its own.
func (g *Gateway) giveData() error {
	if g.user == 0 {
		return nil
	}
	if err := os.Mkdir(g.Data, 0o700); err != nil {
		return fmt.Errorf("make the gateway's directory: %w", err)
	}
	return os.Chown(g.Data, g.user, g.user)
}

func (g *Gateway) startChild(_ context.Context, logTo *os.File) error {
	cmd := exec.Command(g.executable, "gateway") //nolint:gosec,noctx // our own binary; Stop ends it
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, g.environment...)
	cmd.Stdout, cmd.Stderr = logTo, logTo
	if g.user != 0 {
		cmd.Path = "/proc/self/exe" // the file may lie where the user may not enter
		//nolint:gosec // a uid
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Credential: &syscall.Credential{Uid: uint32(g.user), Gid: uint32(g.user)},
		}
	}
	child, err := process.Start(cmd, process.Options{})
	if err != nil {
		return fmt.Errorf("start the gateway: %w", err)
	}
	g.process, g.done = child, child.Ended()
	g.stop = func() { child.Stop(stopTimeout) }
	return logTo.Close() // the child has a copy
}

// Stop shuts the gateway down and waits until it has ended.
func (g *Gateway) Stop() {
	if g.stop == nil {
		return
	}
	g.stop()
	<-g.done
	g.stop = nil
}

// Kill kills a child with SIGKILL, as a crash does.
func (g *Gateway) Kill() error {
	if g.process == nil {
		return errors.New("kill the gateway: it runs in this process: set Options.Child")
	}
	g.process.End(syscall.SIGKILL)
	g.stop = nil
	return nil
}

// PID returns the process ID of a child that runs.
func (g *Gateway) PID() int { return g.process.PID() }

// Running reports whether a child runs.
func (g *Gateway) Running() bool { return g.process.Running() }

// WaitEnded waits until a child has ended by itself, e.g. at a failpoint, or until ctx ends.
func (g *Gateway) WaitEnded(ctx context.Context) error {
	select {
	case <-g.done:
		g.stop = nil
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the end of the gateway: %w", ctx.Err())
	}
}

func (g *Gateway) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL+"/readyz", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-g.done:
			return fmt.Errorf("the gateway ended: %s", g.lastLog())
		case <-ctx.Done():
			return fmt.Errorf("gateway %s is not ready: %s", g.URL, g.lastLog())
		}
	}
}

// FirstToken reads the one-time token of the first administrator from the gateway's log.
func (g *Gateway) FirstToken() (string, error) {
	f, err := os.Open(g.logFile)
	if err != nil {
		return "", err
	}
	defer f.Close()
	token := ""
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var line struct {
			Token string `json:"one_time_token"`
		}
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Token != "" {
			token = line.Token
		}
	}
	if token == "" {
		return "", errors.Join(fmt.Errorf("read %s: it has no one-time token", g.logFile), lines.Err())
	}
	return token, nil
}

// Store opens the gateway's database read-only, while the gateway runs. The caller must close it.
func (g *Gateway) Store(ctx context.Context) (*store.Store, error) {
	sealer, err := seal.LoadOrCreate(g.key(), false)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(g.Data, "slipway.db")
	return store.OpenReadOnly(ctx, store.Options{Path: path, Postgres: g.database, Sealer: sealer})
}

// key returns the path of the gateway's key file.
func (g *Gateway) key() string { return filepath.Join(g.Data, "secret.key") }

// Name returns the name of the gateway, which is unique among the gateways of a database.
func (g *Gateway) Name() (string, error) {
	text, err := os.ReadFile(filepath.Join(g.Data, "gateway"))
	return strings.TrimSpace(string(text)), err
}

// Doctor runs `slipway doctor` with the gateway's settings and returns its output. It returns an
// error if doctor finds a problem.
func (g *Gateway) Doctor(ctx context.Context) (printed string, err error) {
	return g.Command(ctx, "doctor")
}

// Command runs a command of slipway with the gateway's settings and returns its output. It returns an
// error if the command fails.
func (g *Gateway) Command(ctx context.Context, args ...string) (printed string, err error) {
	cmd := exec.CommandContext(ctx, g.executable, args...) //nolint:gosec // our own binary
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, g.environment...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// LogFile returns the path of the gateway's log.
func (g *Gateway) LogFile() string { return g.logFile }

func (g *Gateway) lastLog() string {
	data, err := os.ReadFile(g.logFile)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return lines[len(lines)-1]
}

// Restart makes a child execute its program again in the same process (SIGUSR2), and waits until that is up.
func (g *Gateway) Restart(ctx context.Context) error {
	if g.process == nil {
		return errors.New("restart the gateway: it runs in this process: set Options.Child")
	}
	before, err := g.starts()
	if err != nil {
		return err
	}
	g.process.Signal(syscall.SIGUSR2)
	return Wait(ctx, func() (bool, error) {
		starts, err := g.starts()
		return starts > before, err
	})
}

// starts returns how often the gateway has started.
func (g *Gateway) starts() (int, error) {
	log, err := os.ReadFile(g.logFile)
	return strings.Count(string(log), `"gateway is up"`), err
}
