package web_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/web"
)

const (
	floodBody = 10 << 20 // the size limit of a delivery
	floodPeak = 256 << 20
)

// I4: clients that send large bodies at once fill no memory, whether the length of the
// body is correct, missing or wrong. Other clients get answers all the time.
func TestI4AFloodOfLargeBodiesFillsNoMemory(t *testing.T) {
	// The short form runs in parallel with other tests and with the race detector.
	clients, patience, most := 16, 10*time.Second, uint64(2*floodPeak)
	if os.Getenv("SLIPWAY_TRUST") != "" {
		clients, patience, most = 64, 5*time.Second, floodPeak
	}
	e := newEnv(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must.Succeed(t, err)
	server := web.Server(e)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		_ = server.Close() // the test is over
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	runtime.GC()
	ctx, stop := context.WithCancel(t.Context())
	var watch sync.WaitGroup
	var peak atomic.Uint64
	watch.Go(func() { watchHeap(ctx, &peak) })
	hook := "/hooks/bitbucket/" + e.hook(t).ID
	path := "http://" + l.Addr().String() + hook

	var flood sync.WaitGroup
	responses := make([]int, clients)
	for i := range clients {
		flood.Go(func() { responses[i] = sendLarge(t, path, i) })
	}
	took := probeHealth(t, "http://"+l.Addr().String()+"/healthz")
	flood.Wait()
	stop()
	watch.Wait()
	t.Logf(
		"%d clients: at most %d MiB of heap, slowest health probe %s, answers %v",
		clients,
		peak.Load()>>20,
		took[len(took)-1],
		responses,
	)
	for _, a := range responses {
		if !slices.Contains(
			[]int{http.StatusUnauthorized, http.StatusRequestEntityTooLarge, http.StatusServiceUnavailable, 0},
			a,
		) {
			t.Errorf("client: got status %d, want a normal response or a limit", a)
		}
	}
	if took[len(took)-1] > patience {
		t.Errorf("slowest health probe: got %s, want at most %s", took[len(took)-1], patience)
	}
	if peak.Load() > most {
		t.Errorf("heap: got %d MiB, want at most %d", peak.Load()>>20, most>>20)
	}
	if r := e.do("POST", hook, "{}", nil); r.StatusCode != http.StatusUnauthorized {
		t.Errorf("delivery after the flood: got status %d, want 401", r.StatusCode)
	}
}

// probeHealth sends 30 health probes and returns their durations, sorted.
func probeHealth(t *testing.T, url string) []time.Duration {
	t.Helper()
	var took []time.Duration
	for range 30 {
		began := time.Now()
		r, err := http.Get(url)
		if err != nil {
			t.Errorf("health probe: got error %v, want none", err)
			continue
		}
		r.Body.Close()
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took
}

// sendLarge posts a body in one of three ways and returns the status. It is 0 if the server closed the
// connection.
func sendLarge(t *testing.T, url string, i int) int {
	body := io.LimitReader(zeros{}, floodBody)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	if err != nil {
		t.Error(err)
		return 0
	}
	switch i % 3 {
	case 0:
		r.ContentLength = floodBody
	case 1:
		r.Body = io.NopCloser(bufio.NewReader(io.LimitReader(zeros{}, 2*floodBody))) // chunked, and over the limit
	case 2:
		return lie(url, r)
	}
	reply, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return 0
	}
	defer reply.Body.Close()
	return reply.StatusCode
}

// lie sends a Content-Length of a petabyte and a body of the size limit.
func lie(url string, r *http.Request) int {
	c, err := net.Dial("tcp", r.URL.Host)
	if err != nil {
		return 0
	}
	defer c.Close()
	fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000000\r\n\r\n", url)
	_, _ = io.CopyN(c, zeros{}, floodBody) // the server may close the connection
	_ = c.(*net.TCPConn).CloseWrite()
	reply, err := http.ReadResponse(bufio.NewReader(c), r)
	if err != nil {
		return 0
	}
	defer reply.Body.Close()
	return reply.StatusCode
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// watchHeap records the largest heap size until ctx ends.
func watchHeap(ctx context.Context, peak *atomic.Uint64) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var m runtime.MemStats
	for {
		runtime.ReadMemStats(&m)
		peak.Store(max(peak.Load(), m.HeapInuse))
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
