package crashtest

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"slipway/config/secret"
	"slipway/plugin/bitbucket/webhook"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
)

const (
	burstSenders = 64
	burstBody    = 5 << 10   // bytes of a delivery
	burstMemory  = 256 << 20 // bytes that the gateway may take
)

// burstSize returns the number of deliveries of a burst.
func burstSize() int {
	if isLong() {
		return 10_000
	}
	return 500
}

// F20: a burst of deliveries of one push, by many senders, is accepted in bounded time and memory. The push
// is built once.
func TestF20ABurstOfDeliveriesIsAcceptedAndBuiltOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o localenv.Options) {
		env := demotest.StartSignedIn(t, o)
		p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
		commit := p.Commit("burst", env.Dockerfile("burst"))
		p.Push("main")
		b := sendBurst(env.For(t), p, burstSize())
		t.Log(b)
		if b.refused > 0 {
			t.Errorf("refused deliveries: got %d, want none", b.refused)
		}
		if limit := 5 * time.Second * time.Duration(1+burstSize()/5000); b.slowest > limit {
			t.Errorf("slowest answer: got %s, want at most %s", b.slowest, limit)
		}
		if b.memory > burstMemory {
			t.Errorf("memory of the gateway: got %d MiB, want at most %d", b.memory>>20, burstMemory>>20)
		}
		for range 1 + burstSize()/1000 { // each part with a timeout of its own
			env = env.For(t)
			if drained(env) {
				break
			}
		}
		checkBuilt(p.For(env.For(t)), 1, commit, "burst")
	})
}

// drained waits until all deliveries are planned. It returns false at the timeout of env.
func drained(env *demotest.Env) bool {
	env.T.Helper()
	s, err := env.Gateway.Store(env.Context)
	env.Must(err)
	defer s.Close()
	return localenv.Wait(env.Context, func() (bool, error) {
		o, err := s.Overview(env.Context)
		return err == nil && o.Unplanned.Count == 0, err // after an error, o is empty
	}) == nil
}

// BenchmarkF20Burst sends 10,000 deliveries at once to a gateway with SQLite.
func BenchmarkF20Burst(b *testing.B) {
	if len(demotest.MissingTools()) > 0 {
		b.Skipf("SKIPPED: %v are absent", demotest.MissingTools())
	}
	env := demotest.StartSignedIn(b, localenv.Options{Child: true, Builder: os.Getenv(builderVariable)})
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	p.Commit("burst", env.Dockerfile("burst"))
	p.Push("main")
	for b.Loop() {
		got := sendBurst(env, p, 10_000)
		b.ReportMetric(float64(got.sent)/got.took.Seconds(), "deliveries/s")
		b.ReportMetric(float64(got.p99.Milliseconds()), "p99-ms")
		b.ReportMetric(float64(got.refused), "refused")
		b.ReportMetric(float64(got.memory>>20), "MiB")
	}
}

// A burstResult describes the answers to a burst.
type burstResult struct {
	sent, refused int
	took          time.Duration // from the first request to the last answer
	p99, slowest  time.Duration
	memory        int64 // largest resident memory of the gateway, in bytes
}

func (b burstResult) String() string {
	return fmt.Sprintf("%d deliveries in %s, %d refused, p99 %s, slowest %s, memory %d MiB",
		b.sent, b.took, b.refused, b.p99, b.slowest, b.memory>>20)
}

// sendBurst sends n copies of the project's newest delivery, with new request IDs.
func sendBurst(env *demotest.Env, p *demotest.Project, n int) burstResult {
	env.T.Helper()
	env.WaitUntil("the push was answered", func() (bool, error) { return len(attempts(p)) > 0, nil })
	all := env.Bitbucket.Deliveries(p.Repository.Hooks()[0].UUID)
	first := all[len(all)-1]
	body := slices.Concat(first.Body, bytes.Repeat([]byte{' '}, max(0, burstBody-len(first.Body))))
	signature := webhook.Sign(body, hookSecret(env))
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: burstSenders, MaxIdleConnsPerHost: burstSenders}}
	defer client.CloseIdleConnections()
	statuses, took := make([]int, n), make([]time.Duration, n)
	var senders errgroup.Group
	senders.SetLimit(burstSenders)
	begin := time.Now()
	for i := range n {
		senders.Go(func() error {
			r, err := http.NewRequestWithContext(env.T.Context(), http.MethodPost, first.URL, bytes.NewReader(body))
			if err != nil {
				return err
			}
			r.Header.Set("X-Event-Key", first.Event)
			r.Header.Set("X-Request-Uuid", rand.Text())
			r.Header.Set(webhook.SignatureHeader, signature)
			sent := time.Now()
			response, err := client.Do(r)
			if err != nil {
				return err
			}
			statuses[i], took[i] = response.StatusCode, time.Since(sent)
			return response.Body.Close()
		})
	}
	env.Must(senders.Wait())
	result := burstResult{sent: n, took: time.Since(begin), memory: residentMemory(env)}
	for _, status := range statuses {
		if status != http.StatusAccepted {
			result.refused++
		}
	}
	slices.Sort(took)
	result.p99, result.slowest = took[n*99/100], took[n-1]
	return result
}

// hookSecret returns the secret of the environment's only webhook.
func hookSecret(env *demotest.Env) secret.Secret {
	env.T.Helper()
	s, err := env.Gateway.Store(env.Context)
	env.Must(err)
	defer s.Close()
	hooks, err := s.Hooks(env.Context)
	env.Must(err)
	if len(hooks) != 1 {
		env.T.Fatalf("webhooks: got %d, want 1", len(hooks))
	}
	return hooks[0].Secret
}

// residentMemory returns the largest resident memory of the gateway so far, in bytes.
// https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
func residentMemory(env *demotest.Env) int64 {
	env.T.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", env.Gateway.PID()))
	env.Must(err)
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmHWM:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			env.Must(err)
			return kib << 10
		}
	}
	env.T.Fatalf("memory of process %d: got no VmHWM, want one", env.Gateway.PID())
	return 0
}
