package faults_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"slipway/plugin/bitbucket/bitbuckettest/faults"
)

const answer = "0123456789"

// working answers well, and counts how often it did.
type working struct{ done atomic.Int32 }

func (h *working) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	h.done.Add(1)
	w.Header().Set("X-Works", "yes")
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, answer)
}

func start(t *testing.T) (*working, *faults.Faults, string) {
	t.Helper()
	h := &working{}
	f := faults.New(h)
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return h, f, server.URL
}

// request returns the status, or the error of making it or of reading its body.
func request(t *testing.T, method, url string) (*http.Response, string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // else a reset GET is tried again
	response, err := client.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return response, string(body), err
}

func TestRules(t *testing.T) {
	const hooks = "/2.0/repositories/acme/app/hooks"
	for name, row := range map[string]struct {
		rule   faults.Rule
		method string
		path   string
		want   []int
	}{
		"everything":              {faults.Rule{}, "GET", hooks, []int{503, 503, 503}},
		"other method":            {faults.Rule{Method: "POST"}, "GET", hooks, []int{201}},
		"pattern":                 {faults.Rule{Method: "POST", Path: "/2.0/repositories/*/*/hooks"}, "POST", hooks, []int{503}},
		"pattern of another path": {faults.Rule{Path: "/2.0/repositories/*/hooks"}, "GET", hooks, []int{201}},
		"any rest":                {faults.Rule{Path: "/2.0/repositories/*/**"}, "GET", hooks, []int{503}},
		"any rest needs one":      {faults.Rule{Path: "/2.0/repositories/acme/app/hooks/**"}, "GET", hooks, []int{201}},
		"twice, then pass":        {faults.Rule{Times: 2}, "GET", hooks, []int{503, 503, 201, 201}},
		"second and third":        {faults.Rule{Skip: 1, Times: 2}, "GET", hooks, []int{201, 503, 503, 201}},
	} {
		t.Run(name, func(t *testing.T) {
			_, f, url := start(t)
			row.rule.Fault = faults.Status(503, "")
			script := f.Add(row.rule)
			hits := 0
			for i, want := range row.want {
				response, _, err := request(t, row.method, url+row.path)
				if err != nil || response.StatusCode != want {
					t.Fatalf("request %d: got %v, error %v, want status %d", i+1, response, err, want)
				}
				if want == 503 {
					hits++
				}
			}
			if script.Hits() != hits {
				t.Errorf("hits: got %d, want %d", script.Hits(), hits)
			}
		})
	}
}

func TestRulesFollowEachOtherUntilStopped(t *testing.T) {
	_, f, url := start(t)
	f.Add(faults.Rule{Times: 1, Fault: faults.HTML(502)})
	last := f.Add(faults.Rule{Fault: faults.RateLimited("7")})
	response, body, err := request(t, "GET", url)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != 502 {
		t.Errorf("first: got status %d, want 502", response.StatusCode)
	}
	if kind := response.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/html") {
		t.Errorf("first: got content type %s, want text/html", kind)
	}
	if !strings.Contains(body, "502 Bad Gateway") {
		t.Errorf("first: got body %q, want 502 Bad Gateway", body)
	}
	response, body, err = request(t, "GET", url)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != 429 {
		t.Errorf("second: got status %d, want 429", response.StatusCode)
	}
	if after := response.Header.Get("Retry-After"); after != "7" {
		t.Errorf("second: got Retry-After %q, want 7", after)
	}
	if body != "Rate limit for this resource has been exceeded" {
		t.Errorf("second: got body %q, want the rate limit message", body)
	}
	last.Stop()
	f.Add(faults.Rule{Times: 1, Fault: faults.RateLimited("")})
	if response, _, err := request(t, "GET", url); err != nil || len(response.Header.Values("Retry-After")) != 0 {
		t.Errorf("third: got %v, error %v, want no Retry-After", response, err)
	}
	f.Add(faults.Rule{Times: 1, Fault: faults.Status(500, `{"type":"error"}`)})
	if response, _, err := request(
		t,
		"GET",
		url,
	); err != nil ||
		response.Header.Get("Content-Type") != "application/json; charset=utf-8" {
		t.Errorf("fourth: got %v, error %v, want the handler's response", response, err)
	}
}

func TestBrokenConnections(t *testing.T) {
	for name, row := range map[string]struct {
		fault faults.Fault
		done  int32
		want  error
	}{
		"reset before": {faults.ResetBefore(), 0, syscall.ECONNRESET},
		"reset after":  {faults.ResetAfter(), 1, syscall.ECONNRESET},
		"truncated":    {faults.Truncate(4), 1, io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			h, f, url := start(t)
			f.Add(faults.Rule{Times: 1, Fault: row.fault})
			response, body, err := request(t, "GET", url)
			if !errors.Is(err, row.want) {
				t.Errorf("request: got error %v, want %v", err, row.want)
			}
			if response != nil {
				if body != answer[:4] {
					t.Errorf("body of the truncated response: got %q, want %q", body, answer[:4])
				}
				if response.StatusCode != 201 {
					t.Errorf("status of the truncated response: got %d, want 201", response.StatusCode)
				}
				if response.ContentLength != 10 {
					t.Errorf("Content-Length of the truncated response: got %d, want 10", response.ContentLength)
				}
			}
			if h.done.Load() != row.done {
				t.Errorf("runs of the handler: got %d, want %d", h.done.Load(), row.done)
			}
		})
	}
}

func TestHoldWaitsForTheTest(t *testing.T) {
	h, f, url := start(t)
	until, answered := make(chan struct{}), make(chan error)
	f.Add(faults.Rule{Fault: faults.Hold(until)})
	go func() {
		_, _, err := request(t, "GET", url)
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Fatalf("held request: got error %v, want no return", err)
	default:
	}
	close(until)
	if err := <-answered; err != nil || h.done.Load() != 1 {
		t.Errorf("after the release: got error %v and %d runs, want no error and 1", err, h.done.Load())
	}
}

func TestDelaysTakeTheirTime(t *testing.T) {
	for name, row := range map[string]struct {
		fault faults.Fault
		want  time.Duration
	}{
		"delay": {faults.Delay(30 * time.Second), 30 * time.Second},
		"slow":  {faults.Slow(4, time.Second), 3 * time.Second}, // 4 + 4 + 2 bytes
	} {
		synctest.Test(t, func(t *testing.T) {
			f := faults.New(&working{})
			f.Add(faults.Rule{Fault: row.fault})
			recorder, began := httptest.NewRecorder(), time.Now()
			f.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
			if took := time.Since(began); took != row.want {
				t.Errorf("%s: got the response after %v, want %v", name, took, row.want)
			}
			if recorder.Body.String() != answer {
				t.Errorf("%s: got body %q, want %q", name, recorder.Body, answer)
			}
			if recorder.Code != 201 {
				t.Errorf("%s: got status %d, want 201", name, recorder.Code)
			}
		})
	}
}

func TestAClientThatLeavesIsNotWaitedFor(t *testing.T) {
	for name, fault := range map[string]faults.Fault{
		"delay": faults.Delay(time.Hour), "hold": faults.Hold(nil),
	} {
		t.Run(name, func(t *testing.T) {
			h := &working{}
			f := faults.New(h)
			f.Add(faults.Rule{Fault: fault})
			ctx, leave := context.WithCancel(t.Context())
			leave()
			defer func() {
				if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) || h.done.Load() != 0 {
					t.Errorf(
						"aborted request: got %d runs of the handler or no abort, want an abort without a run",
						h.done.Load(),
					)
				}
			}()
			f.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/", nil))
		})
	}
}
