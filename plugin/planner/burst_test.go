package planner_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"golang.org/x/sync/errgroup"

	"slipway/config/discard"
	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/webhook"
	"slipway/plugin/intake"
	"slipway/plugin/web/api"
	"slipway/plugin/web/httpx"
)

// F20: The gateway answers each of many concurrent deliveries with 2xx or 503, in bounded memory,
// although together they exceed the limit of held bytes. The planner plans the accepted ones, and
// the poll finds the others.
func TestF20ABurstOfDeliveriesIsAnsweredAndDrained(t *testing.T) {
	deliveries, planned := 500, 25
	if os.Getenv("SLIPWAY_TRUST") == "1" {
		deliveries, planned = 10_000, 2000
	}
	w, p := newFakeCloudEnv(t)
	d := &chaosEnv{Env: w, commits: p.commits, heads: map[string]string{}, remote: p.push}
	d.reset()
	d.watch()
	url := d.serveHooks()
	bodies := make([][]byte, deliveries)
	for i := range bodies {
		bodies[i] = p.push(map[string]string{fmt.Sprintf("refs/tags/v%d", i%planned): p.commits[i/planned%len(p.commits)]})[0]
		bodies[i] = append(bodies[i], bytes.Repeat([]byte(" "), (80<<20)/deliveries)...)
	}
	peak := watchMemory(t)
	accepted := d.sendAll(url, bodies)
	grown := peak() >> 20
	if grown > 384 { // by design 64 MiB are held; the rest belongs to the senders and is garbage
		t.Errorf("growth of the heap: got %d MiB, want at most 384", grown)
	}
	if accepted == 0 {
		t.Fatal("accepted deliveries: got none, want at least 1")
	}
	w.Register(w.Store.Tasks())
	d.drain(accepted)
	for range planned/100 + 1 { // a poll finds 100 pushes at most
		must.Succeed(t, d.Poll(t.Context(), d.Hook))
	}
	states, err := d.Store.RefStates(t.Context(), d.Repo)
	must.Succeed(t, err)
	for ref, head := range p.heads {
		if got := states[refOf(ref)]; got.Head != head {
			t.Errorf("stored head of %s: got %.7s, want %.7s", ref, got.Head, head)
		}
	}
	builds := len(d.allBuilds())
	if len(states) != planned {
		t.Fatalf("states: got %v, want %v", len(states), planned)
	}
	if builds < planned {
		t.Errorf("builds: got %v, want at least %v", builds, planned)
	}
	if builds > deliveries {
		t.Errorf("builds: got %v, want at most %v", builds, deliveries)
	}
	t.Logf("%d of %d deliveries were accepted at once, the others after a retry; the heap grew by %d MiB", accepted,
		deliveries, grown)
}

// serveHooks serves the webhook route of the gateway and returns the URL of the hook.
func (d *chaosEnv) serveHooks() (url string) {
	gin.SetMode(gin.TestMode)
	engine := gin.New()
	engine.Use(httpx.Errors(discard.Logger(), httpx.JSON))
	api.New(api.Options{Store: d.Store,
		Intake: intake.New(intake.Options{Store: d.Store, Now: d.Clock, Log: discard.Logger()})}).Mount(engine)
	server := httptest.NewServer(engine)
	d.T.Cleanup(server.Close)
	return server.URL + "/hooks/bitbucket/" + d.Hook.ID
}

// sendAll sends all deliveries concurrently and returns the number of accepted ones.
func (d *chaosEnv) sendAll(url string, bodies [][]byte) (accepted int) {
	d.T.Helper()
	responses := make([]int, len(bodies))
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 500}} // of the machine's open files
	defer client.CloseIdleConnections()
	var all errgroup.Group
	for i, body := range bodies {
		all.Go(func() error {
			request, err := http.NewRequestWithContext(d.T.Context(), http.MethodPost, url, bytes.NewReader(body))
			if err != nil {
				return err
			}
			request.Header.Set("X-Event-Key", "repo:push")
			request.Header.Set(webhook.SignatureHeader, webhook.Sign(body, secret.New("s")))
			response, err := client.Do(request)
			if err != nil {
				return err
			}
			responses[i] = response.StatusCode
			return response.Body.Close()
		})
	}
	must.Succeed(d.T, all.Wait())
	for i, status := range responses {
		switch {
		case status/100 == 2:
			accepted++
		case status != http.StatusServiceUnavailable:
			d.T.Errorf("delivery %d: got status %d, want 202 or a rejection for load", i, status)
		}
	}
	return accepted
}

// drain plans all accepted deliveries and checks that each has a final state and no task is left.
func (d *chaosEnv) drain(accepted int) {
	d.T.Helper()
	limit := time.Minute + time.Duration(accepted)*100*time.Millisecond // for a machine under load
	ctx, stop := context.WithTimeout(d.T.Context(), limit)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- d.Store.Tasks().Run(ctx) }()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		waiting, dead, err := d.Store.Tasks().Depth(ctx, autobuild.TaskPlan)
		must.Succeed(d.T, err)
		if dead > 0 {
			d.T.Fatalf("dead tasks: got %d, want none", dead)
		}
		if waiting == 0 {
			break
		}
		<-look.C
	}
	stop()
	must.Succeed(d.T, <-done)
	all, err := d.Store.Deliveries(d.T.Context(), autobuild.DeliveryFilter{HookID: d.Hook.ID, Limit: 100_000})
	must.Succeed(d.T, err)
	unanswered := 0
	for _, one := range all {
		if one.State != autobuild.DeliveryPlanned && one.State != autobuild.DeliveryIgnored ||
			strings.TrimSpace(one.Reason) == "" {
			unanswered++
		}
	}
	if len(all) < accepted || unanswered > 0 { // a delivery that was stored after the timeout is sent again
		d.T.Errorf(
			"stored deliveries: got %d, want %d accepted and %d without a response at most",
			len(all),
			accepted,
			unanswered,
		)
	}
}

// watchMemory returns a function that returns the maximum growth of the heap so far, in bytes.
func watchMemory(t *testing.T) (peak func() uint64) {
	t.Helper()
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse
	}
	runtime.GC()
	before, most := heap(), uint64(0)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			most = max(most, heap())
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	return func() uint64 {
		close(stop)
		<-done
		return most - min(most, before)
	}
}
