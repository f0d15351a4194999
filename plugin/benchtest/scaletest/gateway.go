package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"slipway/config/loopback"
	"slipway/config/process"
	"slipway/config/secret"
)

const (
	startTimeout = time.Minute
	startPoll    = 20 * time.Millisecond
	clockTicks   = 100 // of a second, in /proc: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
	metricsToken = "a token of this program"
)

// A gateway is a process of slipway.
type gateway struct {
	url     string
	process *process.Process
	client  *http.Client
}

// startGateway starts a gateway on a database, and waits until it is ready. Its Bitbucket is an address at which
// nothing answers.
func startGateway(ctx context.Context, o options, d *database) (*gateway, error) {
	address, err := loopback.FreeAddress(ctx)
	if err != nil {
		return nil, err
	}
	g := &gateway{url: "http://" + address, client: &http.Client{CheckRedirect: noRedirect}}
	log, err := os.Create(filepath.Join(d.dir, "gateway.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()                              // the process has it
	cmd := exec.Command(o.program, o.arguments...) //nolint:noctx // stop ends it
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(),
		"SLIPWAY_DATA="+d.dir, "SLIPWAY_LISTEN="+address, "SLIPWAY_URL="+g.url, "SLIPWAY_DATABASE="+d.address,
		"SLIPWAY_BITBUCKET_URL="+closedPort, "SLIPWAY_BITBUCKET_API_URL="+closedPort,
		"SLIPWAY_METRICS_TOKEN="+metricsToken, "SLIPWAY_KEEP=8760h", // the rows are younger
	)
	if d.address != "" { // several gateways could share it, so they need a common key and builder
		cmd.Env = append(cmd.Env, "SLIPWAY_KEY_FILE="+filepath.Join(d.dir, "secret.key"),
			"SLIPWAY_BUILDER=unix://"+filepath.Join(d.dir, "builder.sock"))
	}
	if g.process, err = process.Start(cmd, process.Options{}); err != nil {
		return nil, fmt.Errorf("start %s: %w", o.program, err)
	}
	return g, g.await(ctx, log.Name())
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func (g *gateway) await(ctx context.Context, log string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		if _, err := g.get(ctx, "/readyz", secret.Secret{}); err == nil {
			return nil
		}
		select {
		case <-time.After(startPoll):
		case <-g.process.Ended():
			text, _ := os.ReadFile(log)
			return fmt.Errorf("the gateway ended: %s", text)
		case <-ctx.Done():
			return fmt.Errorf("the gateway is not ready: %w", context.Cause(ctx))
		}
	}
}

func (g *gateway) stop() {
	if g != nil && g.process != nil {
		g.process.Stop(startTimeout)
	}
}

// An answer is the time and the size of the answer to a request.
type answer struct {
	took  time.Duration
	bytes int64
}

// get requests a path with the cookie of a session, and expects status 200.
func (g *gateway) get(ctx context.Context, path string, cookie secret.Secret) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.url+path, nil)
	if err != nil {
		return answer{}, err
	}
	if !cookie.IsZero() {
		r.AddCookie(&http.Cookie{Name: "slipway", Value: cookie.Reveal()}) //nolint:gosec // of a request
	}
	r.Header.Set("Authorization", "Bearer "+metricsToken)
	begin := time.Now()
	response, err := g.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: got status %d, want 200: %.300s", path, response.StatusCode, text)
	}
	return answer{time.Since(begin), int64(len(text))}, err
}

// cpu returns the processor time that the process has used, without its children.
func (g *gateway) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", g.process.PID())) //nolint:gosec // a number
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(text), ") ") // the name may contain spaces
	fields := strings.Fields(after)
	if len(fields) < 13 {
		return 0, errors.New("the times of the process are missing")
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * time.Second / clockTicks, errors.Join(err1, err2)
}

// memory returns the resident memory of the process in bytes, as status shows it, for example "VmRSS".
func (g *gateway) memory(name string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.process.PID())) //nolint:gosec // a number
	if err != nil {
		return 0, err
	}
	_, after, found := strings.Cut(string(text), name+":")
	fields := strings.Fields(after)
	if !found || len(fields) == 0 {
		return 0, fmt.Errorf("%s of the process is missing", name)
	}
	kilobytes, err := strconv.ParseInt(fields[0], 10, 64)
	return kilobytes << 10, err
}
