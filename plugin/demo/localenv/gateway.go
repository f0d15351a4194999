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
	"slipway/config/child"
	"slipway/config/secret"
	"slipway/plugin"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
)

const (
	startTime = 30 * time.Second // that a gateway may take to answer
	stopTime  = time.Minute      // that it may take to end before it is killed
)

// A Gateway is the world's gateway: in this process, or a child that may be killed. What
// it did is read from its database, beside it.
type Gateway struct {
	URL  string
	Data string

	executable  string
	child       bool
	environment []string
	logFile     string
	database    secret.Secret // PostgreSQL's address; zero = SQLite

	here    *plugin.Gateway // nil = it runs as a child
	process *child.Child    // nil = it runs in this process
	stop    func()          // ends it; nil = not running
	done    <-chan struct{} // closed when it ended
}

// Start starts the gateway, and returns when it answers.
func (g *Gateway) Start(ctx context.Context) error {
	log, err := os.OpenFile(g.logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	start := g.startHere
	if g.child {
		start = g.startChild
	}
	if err := start(ctx, log); err != nil {
		return errors.Join(err, log.Close())
	}
	return g.waitReady(ctx)
}

func (g *Gateway) startHere(ctx context.Context, logTo *os.File) error {
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
	g.here, g.stop, g.done = gateway, stop, done
	return nil
}

// Routes lists what a gateway in this process serves, as "GET /builds/:number"; none of a child's.
func (g *Gateway) Routes() []string {
	if g.here == nil {
		return nil
	}
	return g.here.Routes()
}

func (g *Gateway) startChild(_ context.Context, logTo *os.File) error {
	cmd := exec.Command(g.executable, "gateway") //nolint:gosec,noctx // our own binary; Stop ends it
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, g.environment...)
	cmd.Stdout, cmd.Stderr = logTo, logTo
	process, err := child.Start(cmd, child.Options{})
	if err != nil {
		return fmt.Errorf("start the gateway: %w", err)
	}
	g.process, g.done = process, process.Ended()
	g.stop = func() { process.Stop(stopTime) }
	return logTo.Close() // the child has its own
}

// Stop ends the gateway as a person would, and waits for it.
func (g *Gateway) Stop() {
	if g.stop == nil {
		return
	}
	g.stop()
	<-g.done
	g.stop = nil
}

// Kill kills a child at once, as a crash would.
func (g *Gateway) Kill() error {
	if g.process == nil {
		return errors.New("the gateway runs in this process")
	}
	g.process.End(syscall.SIGKILL)
	g.stop = nil
	return nil
}

// WaitEnded returns when a child ended by itself, as one does that was told to die, or ctx ends.
func (g *Gateway) WaitEnded(ctx context.Context) error {
	select {
	case <-g.done:
		g.stop = nil
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the gateway goes on: %w", ctx.Err())
	}
}

func (g *Gateway) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
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
			return fmt.Errorf("the gateway does not answer at %s: %s", g.URL, g.lastLog())
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
		return "", errors.Join(errors.New("the gateway's log has no one-time token"), lines.Err())
	}
	return token, nil
}

// Store opens the gateway's database for reading, beside the gateway. The caller closes it.
func (g *Gateway) Store(ctx context.Context) (*store.Store, error) {
	sealer, err := seal.LoadOrCreate(g.key(), false)
	if err != nil {
		return nil, err
	}
	return store.OpenReadOnly(
		ctx,
		store.Options{Path: filepath.Join(g.Data, "slipway.db"), Postgres: g.database, Sealer: sealer},
	)
}

// key is the file of the gateway's key.
func (g *Gateway) key() string { return filepath.Join(g.Data, "secret.key") }

// Name is the gateway's among those of its database.
func (g *Gateway) Name() (string, error) {
	text, err := os.ReadFile(filepath.Join(g.Data, "gateway"))
	return strings.TrimSpace(string(text)), err
}

// Doctor runs `slipway doctor` with the gateway's settings and returns what it prints; err = it
// found something to mend.
func (g *Gateway) Doctor(ctx context.Context) (printed string, err error) {
	cmd := exec.CommandContext(ctx, g.executable, "doctor") //nolint:gosec // our own binary
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, g.environment...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// LogFile is where the gateway's log is.
func (g *Gateway) LogFile() string { return g.logFile }

func (g *Gateway) lastLog() string {
	data, err := os.ReadFile(g.logFile)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return lines[len(lines)-1]
}
