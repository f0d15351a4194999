package bitbuckettest_test

import (
	"net/http"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/bitbucket/bitbuckettest"
)

func TestRequestsPerHourAreLimited(t *testing.T) {
	clock := newClock()
	e := newEnv(t, func(o *bitbuckettest.Options) { o.RequestLimit, o.Now = 3, clock.now })
	e.app.Grant(e.bob, bitbuckettest.Read)
	bob, _ := e.Link(e.bob, e.consumer)
	tokens := []string{e.token, bob.Reveal(), e.token} // of one consumer
	for i, token := range tokens {
		if status, response := e.callAs(t, token, "GET", app, nil); status != 200 {
			t.Errorf("request %d: got %d %v, want 200", i+1, status, response)
		}
		clock.advance(time.Minute)
	}
	e.token = bob.Reveal()
	response, body := e.send(t, "GET", app, "", "")
	if response.StatusCode != 429 {
		t.Errorf("request 4: got %d, want 429", response.StatusCode)
	}
	if body != "Rate limit for this resource has been exceeded" {
		t.Errorf("request 4: got body %q, want Bitbucket's text", body)
	}
	for name, want := range map[string]string{"Content-Type": "text/plain", "Retry-After": "", "X-RateLimit-Limit": ""} {
		if got := response.Header.Get(name); got != want {
			t.Errorf("request 4: got %s %q, want %q", name, got, want)
		}
	}
	if response, _ = e.send(t, "GET", app+"/hooks", "", ""); response.StatusCode != 403 {
		t.Errorf("webhooks: got %d, want 403, because they have a limit of their own", response.StatusCode)
	}
	clock.advance(57 * time.Minute) // an hour after the first request
	for i, want := range []int{200, 429} {
		if response, _ = e.send(t, "GET", app, "", ""); response.StatusCode != want {
			t.Errorf("request %d of the next hour: got %d, want %d", i+1, response.StatusCode, want)
		}
	}
}

func TestAccessTokensHaveALimitOfTheirOwn(t *testing.T) {
	e := newEnv(t, func(o *bitbuckettest.Options) { o.RequestLimit = 10 })
	access, err := e.AddAccessToken(bitbuckettest.AccessToken{
		Kind: bitbuckettest.RepositoryToken, Name: "ci", Repository: e.app, Scopes: []string{"repository"},
	})
	must.Succeed(t, err)
	e.call(t, "GET", app, nil) // counts for the consumer
	e.token = access.Reveal()
	for i := 1; i <= 11; i++ {
		response, _ := e.send(t, "GET", app, "", "")
		near := "false"
		if i > 8 {
			near = "true"
		}
		if got := response.Header.Get("X-RateLimit-NearLimit"); got != near {
			t.Errorf("request %d: got X-RateLimit-NearLimit %q, want %q", i, got, near)
		}
		want := http.StatusOK
		if i > 10 {
			want = http.StatusTooManyRequests
		}
		if response.StatusCode != want {
			t.Errorf("request %d: got %d, want %d", i, response.StatusCode, want)
		}
	}
}

func TestAnonymousRequestsAreLimitedByAddress(t *testing.T) {
	e := newEnv(t, func(o *bitbuckettest.Options) { o.RequestLimit = 1000 })
	open, err := e.AddRepository(e.acme, "open", bitbuckettest.Public)
	must.Succeed(t, err)
	for i := 1; i <= 60; i++ {
		if status, _ := e.callAs(t, "", "GET", "/2.0/repositories/"+open.FullName(), nil); status != 200 {
			t.Fatalf("request %d: got %d, want 200", i, status)
		}
	}
	response, err := http.Get(e.URL() + "/2.0/repositories/" + open.FullName())
	must.Succeed(t, err)
	_ = response.Body.Close()
	if response.StatusCode != 429 {
		t.Errorf("request 61: got %d, want 429", response.StatusCode)
	}
}
