package bitbuckettest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"slipway/config/must"
	"slipway/plugin/bitbucket/bitbuckettest"
)

// commit pushes one commit with a message and waits for what follows.
func (e *env) commit(t *testing.T, message string) {
	t.Helper()
	_, err := e.app.Commit(t.Context(), "main", map[string]string{"message": message}, message)
	must.Succeed(t, err)
	must.Succeed(t, e.WaitIdle(t.Context()))
}

func TestOnlyServerErrorsAreRetried(t *testing.T) {
	for name, row := range map[string]struct {
		responses []int
		want      string
	}{
		"accepted":                       {[]int{202}, "[1:202]"},
		"not found":                      {[]int{404}, "[1:404]"},
		"unauthorized":                   {[]int{401}, "[1:401]"},
		"redirect":                       {[]int{302}, "[1:302]"},
		"unavailable once":               {[]int{503, 202}, "[1:503 2:202]"},
		"an error of the last attempt":   {[]int{500, 599, 502}, "[1:500 2:599 3:502]"},
		"a refusal after a server error": {[]int{500, 400}, "[1:500 2:400]"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			hooked := newReceiver(t, func(n int) int { return row.responses[min(n, len(row.responses))-1] })
			uuid := e.addHook(t, hooked.URL, "k")
			e.commit(t, "First")
			deliveries := e.Deliveries(uuid)
			if len(deliveries) != 1 {
				t.Fatalf("deliveries: got %d, want 1", len(deliveries))
			}
			var got []string
			for i, attempt := range deliveries[0].Attempts {
				got = append(got, fmt.Sprintf("%d:%d", attempt.Number, attempt.Status))
				request := hooked.requests[i]
				if request.Header.Get("X-Attempt-Number") != fmt.Sprint(attempt.Number) ||
					request.Header.Get("X-Request-UUID") != deliveries[0].RequestUUID {
					t.Errorf(
						"headers of attempt %d: got %v, want the attempt's number and the delivery's UUID",
						attempt.Number,
						request.Header,
					)
				}
			}
			if fmt.Sprint(got) != row.want || len(hooked.requests) != len(got) {
				t.Errorf("attempts: got %v, want %s", got, row.want)
			}
		})
	}
}

func TestDeliveriesOfAHookKeepTheirOrder(t *testing.T) {
	e := newEnv(t)
	hooked := newReceiver(t, ok)
	e.addHook(t, hooked.URL, "")
	for i := range 5 {
		_, err := e.app.Commit(t.Context(), "main", map[string]string{"n": fmt.Sprint(i)}, fmt.Sprint("Commit ", i))
		must.Succeed(t, err)
	}
	must.Succeed(t, e.WaitIdle(t.Context()))
	for i, changes := range hooked.changes(t) {
		if got := dig(changes, 0, "new", "target", "message"); got != fmt.Sprintf("Commit %d\n", i) {
			t.Errorf("delivery %d: got %v, want %v", i, got, fmt.Sprintf("Commit %d\n", i))
		}
	}
	if n := len(e.Deliveries("")); n != 5 {
		t.Errorf("deliveries: got %d, want 5", n)
	}
}

func TestWhoIsNotTold(t *testing.T) {
	e := newEnv(t)
	hooked := newReceiver(t, ok)
	for name, change := range map[string]map[string]any{
		"inactive": {"active": false}, "other event": {"events": []string{"repo:fork"}},
	} {
		change["url"] = hooked.URL + "/" + strings.ReplaceAll(name, " ", "-")
		if status, response := e.call(t, "POST", hooksPath, hookBody(change)); status != 201 {
			t.Fatalf("POST: got status %d %v, want 201", status, response)
		}
	}
	e.commit(t, "First")
	large := e.addHook(t, hooked.URL+"/large", "")
	e.commit(t, strings.Repeat("a long message ", 20<<10))
	if len(hooked.requests) != 0 {
		t.Errorf("requests: got %d, the first for %s, want none", len(hooked.requests), hooked.requests[0].URL)
	}
	deliveries := e.Deliveries(large)
	if len(deliveries) != 1 {
		t.Fatalf("more than 256 KB: got %d deliveries, want 1", len(deliveries))
	}
	if !deliveries[0].Oversized {
		t.Error("more than 256 KB: got a delivery of normal size, want it oversized")
	}
	if got := len(deliveries[0].Attempts); got != 0 {
		t.Errorf("more than 256 KB: got %d attempts, want none", got)
	}
}

func TestUnsignedWithoutASecretAndResent(t *testing.T) {
	e := newEnv(t)
	hooked := newReceiver(t, ok)
	uuid := e.addHook(t, hooked.URL, "")
	e.commit(t, "First")
	request := e.Deliveries(uuid)[0].RequestUUID
	must.Succeed(t, e.Redeliver(request))
	must.Succeed(t, e.WaitIdle(t.Context()))
	if len(hooked.bodies) != 2 {
		t.Fatalf("requests: got %d, want 2", len(hooked.bodies))
	}
	if hooked.bodies[0] != hooked.bodies[1] {
		t.Errorf("second body: got %q, want the same as the first", hooked.bodies[1])
	}
	if got := hooked.requests[1].Header.Get("X-Request-UUID"); got != request {
		t.Errorf("request UUID: got %s, want %s again", got, request)
	}
	if signature := hooked.requests[0].Header.Values("X-Hub-Signature"); len(signature) != 0 {
		t.Errorf("signature without a secret: got %v, want none", signature)
	}
	if err := e.Redeliver("x"); err == nil {
		t.Error("redeliver an unknown delivery: got no error, want one")
	}
	e.call(t, "DELETE", hooksPath+"/"+strings.NewReplacer("{", "%7B", "}", "%7D").Replace(uuid), nil)
	if err := e.Redeliver(request); err == nil {
		t.Error("redeliver to a deleted webhook: got no error, want one")
	}
}

// transport answers in place of the network.
type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

func TestFailuresWithoutAnAnswerAreNotRetried(t *testing.T) {
	for want, way := range map[string]transport{
		"NETWORK ERROR": func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF },
		"TIMEOUT": func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		},
	} {
		t.Run(want, func(t *testing.T) {
			e := newEnv(t, func(o *bitbuckettest.Options) { o.Transport, o.HookTimeout = way, 20*time.Millisecond })
			uuid := e.addHook(t, "http://127.0.0.1:9/", "")
			e.commit(t, "First")
			attempts := e.Deliveries(uuid)[0].Attempts
			if len(attempts) != 1 {
				t.Fatalf("attempts: got %+v, want one", attempts)
			}
			if attempts[0].Error != want {
				t.Errorf("error: got %q, want %q", attempts[0].Error, want)
			}
			if attempts[0].Status != 0 {
				t.Errorf("status: got %d, want 0", attempts[0].Status)
			}
		})
	}
}

func TestAnUnreachableHookWaitsTenSecondsAndClosingEndsIt(t *testing.T) {
	e := newEnv(t, func(o *bitbuckettest.Options) {
		o.Transport = transport(func(r *http.Request) (*http.Response, error) {
			deadline, _ := r.Context().Deadline()
			if left := time.Until(deadline); left < 9*time.Second || left > 10*time.Second {
				t.Errorf("timeout of an attempt: got %v, want ten seconds", left)
			}
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
	})
	uuid := e.addHook(t, "http://127.0.0.1:9/", "")
	for i := range 2 {
		_, err := e.app.Commit(t.Context(), "main", map[string]string{"n": fmt.Sprint(i)}, "More")
		must.Succeed(t, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := e.WaitIdle(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wait for idle during a delivery: got %v, want %v", err, context.DeadlineExceeded)
	}
	e.Close()
	if deliveries := e.Deliveries(uuid); len(deliveries) != 2 || len(deliveries[1].Attempts) != 0 {
		t.Errorf("deliveries after Close: got %+v, want 2, the second without an attempt", deliveries)
	}
}

func TestRetriesAreSpaced(t *testing.T) {
	var at []time.Time
	synctest.Test(t, func(t *testing.T) {
		server, err := bitbuckettest.New(
			bitbuckettest.Options{Root: t.TempDir(), AllowPrivateHooks: true, RetryDelay: time.Minute,
				Transport: transport(func(*http.Request) (*http.Response, error) {
					at = append(at, time.Now())
					return &http.Response{StatusCode: 503, Body: http.NoBody}, nil
				})},
		)
		must.Succeed(t, err)
		defer server.Close()
		alice := server.AddUser("alice")
		app, err := server.AddRepository(server.AddWorkspace("acme", alice), "app", bitbuckettest.Private)
		must.Succeed(t, err)
		_, err = app.AddHook("http://127.0.0.1:9/", "", "repo:push")
		must.Succeed(t, err)
		_, err = app.Commit(t.Context(), "main", map[string]string{"f": "1"}, "First")
		must.Succeed(t, err)
		must.Succeed(t, server.WaitIdle(t.Context()))
	})
	if len(at) != 3 {
		t.Fatalf("attempts: got %d, want 3", len(at))
	}
	for i := range 2 {
		if pause := at[i+1].Sub(at[i]); pause != time.Minute {
			t.Errorf("pause: got %s after attempt %d, want 1m", pause, i+1)
		}
	}
}
