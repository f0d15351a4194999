package restarttest

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"slipway/config/process"
	"slipway/plugin/autobuild"
)

const (
	restarts = 10
	rate     = 200 // webhooks a second
	// slowest is the longest time of a webhook during a restart. Bitbucket waits 10 s.
	slowest = 5 * time.Second
)

// F24: over ten restarts at 200 webhooks a second, each webhook is stored and answered with 202. No connection
// is refused or cut. Half of the clients keep their connections.
func TestF24RestartsLoseNoWebhook(t *testing.T) {
	for name, c := range map[string]struct {
		socket  bool
		restart func(e *env)
	}{
		"SIGUSR2":        {restart: (*env).handOver},
		"systemd socket": {socket: true, restart: (*env).restartService},
		"both":           {socket: true, restart: (*env).handOver},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			if c.socket {
				e.socket = e.listen()
			}
			e.start()
			l := e.startLoad(!c.socket)
			id := e.process.PID()
			for range restarts {
				c.restart(e)
			}
			l.stop()
			t.Logf("%d restarts: %d webhooks, %d scrapes, slowest webhook %s", restarts, l.sent, l.scrapes, l.slowest)
			if l.slowest > slowest {
				t.Errorf("slowest webhook: got %s, want at most %s", l.slowest, slowest)
			}
			if !c.socket && e.process.PID() != id {
				t.Errorf("process: got %d, want %d", e.process.PID(), id)
			}
			e.process.Stop(10 * time.Second)
			e.checkStored(l.sent)
		})
	}
}

// listen returns the listener of a systemd socket unit.
func (e *env) listen() *os.File {
	e.t.Helper()
	l, err := net.Listen("tcp", e.address)
	e.must(err)
	defer l.Close()
	file, err := l.(*net.TCPListener).File()
	e.must(err)
	e.t.Cleanup(func() { file.Close() })
	return file
}

// checkStored checks that the database has each delivery once.
func (e *env) checkStored(want int) {
	e.t.Helper()
	s := e.openStore()
	defer s.Close()
	all, err := s.Deliveries(e.t.Context(), autobuild.DeliveryFilter{Limit: 10 * want})
	e.must(err)
	if len(all) != want {
		e.t.Errorf("stored deliveries: got %d, want %d", len(all), want)
	}
}

// A load sends webhooks and scrapes metrics until stop is called.
type load struct {
	stop func() // stops, waits for the responses, and fails the test for each error

	mu      sync.Mutex
	sent    int
	scrapes int
	slowest time.Duration
}

func (e *env) startLoad(scrape bool) *load {
	l := &load{}
	ctx, cancel := context.WithCancel(e.t.Context())
	kept := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 10}}
	fresh := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	var requests sync.WaitGroup
	requests.Go(func() {
		tick := time.NewTicker(time.Second / rate)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			client := kept
			if n%2 == 0 {
				client = fresh
			}
			requests.Go(func() { l.observe(e, client, n) })
			if scrape && n%50 == 0 {
				requests.Go(func() { l.scrape(e, client) })
			}
		}
	})
	l.stop = func() {
		cancel()
		requests.Wait()
		kept.CloseIdleConnections()
	}
	return l
}

func (l *load) observe(e *env, client *http.Client, n int) {
	began := time.Now()
	err := e.deliver(context.WithoutCancel(e.t.Context()), client, n)
	took := time.Since(began)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent++
	l.slowest = max(l.slowest, took)
	if err != nil {
		e.t.Errorf("webhook %d after %s: got error %v, want none", n, took, err)
	}
}

func (l *load) scrape(e *env, client *http.Client) {
	r, err := http.NewRequest(http.MethodGet, "http://"+e.metrics+"/metrics", nil)
	if err == nil {
		var resp *http.Response
		if resp, err = client.Do(r); err == nil {
			resp.Body.Close() // 503 = too many scrapes at once, which waited
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.scrapes++
	if err != nil {
		e.t.Errorf("scrape: got error %v, want none", err)
	}
}

// A new program that does not start leaves the gateway serving, with the error in its log.
func TestANewProgramThatDoesNotStartReplacesNothing(t *testing.T) {
	e := newEnv(t)
	e.start()
	self, err := os.Executable()
	e.must(err)
	broken := filepath.Join(e.dir, brokenName)
	if err := os.Link(self, broken); err != nil {
		t.Skipf("SKIPPED: a hard link to the test needs one file system, which it lacks (set TMPDIR): %v", err)
	}
	for _, c := range []struct {
		name, program string
		want          []string // parts of the log
	}{
		{"no program", filepath.Join(e.dir, "absent"), []string{"restart refused: this program continues", "no such file"}},
		{"fails the check", "/bin/false", []string{"restart refused: this program continues", "exit status 1"}},
		{"fails later", broken, []string{"executing the new program", `"gateway is up"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e.install(c.program)
			before := len(e.log())
			e.process.Signal(syscall.SIGUSR2)
			e.await("the log "+strings.Join(c.want, ", "), func() bool {
				log := e.log()[before:]
				for _, part := range c.want {
					if !strings.Contains(log, part) {
						return false
					}
				}
				return true
			})
			if err := e.deliver(t.Context(), http.DefaultClient, 0); err != nil {
				t.Errorf("webhook: got error %v, want none", err)
			}
		})
	}
	e.install(self)
	e.handOver()
	if err := e.deliver(t.Context(), http.DefaultClient, 0); err != nil {
		t.Errorf("webhook after a restart: got error %v, want none", err)
	}
}

// Several signals at once cause one restart or a few, and end no process.
func TestManySignalsRestart(t *testing.T) {
	e := newEnv(t)
	e.start()
	for range 5 {
		before := e.starts()
		for range 20 {
			e.process.Signal(syscall.SIGUSR2)
		}
		e.awaitStart(before)
	}
	if !e.process.Running() {
		t.Error("gateway: got it ended, want it running")
	}
}

// A stop request that arrives while the new program starts also ends the previous one.
func TestAStopEndsANewProgramThatStarts(t *testing.T) {
	e := newEnv(t)
	database, err := net.Listen("tcp", "127.0.0.1:0")
	e.must(err)
	defer database.Close()
	previous, err := os.Open("/bin/true")
	e.must(err)
	defer previous.Close()
	cmd := exec.Command(e.program(), "gateway")
	cmd.ExtraFiles = []*os.File{previous}
	cmd.Env = append(e.environ(), "SLIPWAY_INHERITED=program=3",
		"SLIPWAY_KEY_FILE="+filepath.Join(e.data(), "secret.key"),
		"SLIPWAY_DATABASE=postgres://slipway@"+database.Addr().String()+"/slipway?sslmode=disable")
	var output bytes.Buffer
	cmd.Stderr = &output
	e.process, err = process.Start(cmd, process.Options{})
	e.must(err)
	connection, err := database.Accept() // and no response
	e.must(err)
	defer connection.Close()
	e.process.Stop(10 * time.Second)
	if err := e.process.Wait(); err == nil {
		t.Error("exit code: got 0, that of the previous program, want another one")
	}
	if strings.Contains(output.String(), "previous program") {
		t.Errorf("output: got %s, want that no program continues", &output)
	}
}
