package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config"
	"slipway/config/secret"
	"slipway/plugin/assembly"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
	"slipway/plugin/store/storetest"
)

// I11: a new installation accepts only the token in its log. Each start creates another token, which
// works once and for one day.
func TestI11AFreshStartHasNoKnownCredential(t *testing.T) {
	seen := map[string]bool{}
	for range freshStarts() {
		l := listen(t)
		environ := settingsOf(t, l)
		g := startFresh(t, environ, l)
		for _, known := range []string{"", "admin", "administrator", "default", "password", "changeme", "slipway", "superuser@default.com"} {
			if status := g.post(t, "/signin/token", "token", known); status != http.StatusGone {
				t.Errorf("token %q: got %d, want %d", known, status, http.StatusGone)
			}
			for _, path := range []string{"/setup", "/settings/providers", "/automated-builds", "/metrics"} {
				if status := g.getAs(t, path, known); status == http.StatusOK {
					t.Errorf("%s: got access with token %q, want none", path, known)
				}
			}
		}
		tokens := g.tokens(t)
		if len(tokens) != 1 {
			t.Fatalf("tokens: got %q, want one", tokens)
		}
		if len(tokens[0]) < 26 { // 26 characters of base32 are 128 bits
			t.Errorf("token: got the short %q, want a longer one", tokens[0])
		}
		if seen[tokens[0]] {
			t.Errorf("tokens: got %q twice, want two tokens", tokens[0])
		}
		seen[tokens[0]] = true
		for i, want := range []int{http.StatusSeeOther, http.StatusGone} {
			if status := g.post(t, "/signin/token", "token", tokens[0]); status != want {
				t.Errorf("use %d of the token: got %d, want %d", i+1, status, want)
			}
		}
		g.stop()
		wantExpiry(t, environ, l)
	}
}

// freshStarts returns the number of new installations to test.
func freshStarts() int {
	if os.Getenv("SLIPWAY_TRUST") == "1" {
		return 100
	}
	return 3
}

// wantExpiry starts the gateway once more and checks the expiry of its new token.
func wantExpiry(t *testing.T, environ []string, l net.Listener) {
	t.Helper()
	again := startFresh(t, environ, relisten(t, l))
	token := again.tokens(t)[0]
	again.stop()
	c, err := config.LoadGateway(environ)
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := seal.LoadOrCreate(c.Key, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		later time.Duration
		want  error
	}{{firstTokenLife, autobuild.ErrNotFound}, {firstTokenLife - time.Hour, nil}} {
		o := assembly.Database(c)
		o.Sealer, o.Now = sealer, func() time.Time { return time.Now().Add(tt.later) }
		s, err := store.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.TakeFirstToken(t.Context(), autobuild.TokenHash(secret.New(token))); !errors.Is(err, tt.want) {
			t.Errorf("after %s: got %v, want %v", tt.later, err, tt.want)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// I11: gateways that start together on one database log one token. Concurrent uses of it, at any of
// the gateways, create one administrator.
func TestI11GatewaysThatStartTogetherCreateOneAdministrator(t *testing.T) {
	address, key := storetest.PostgresAddress(t), filepath.Join(t.TempDir(), "secret.key")
	if _, err := seal.LoadOrCreate(key, true); err != nil {
		t.Fatal(err)
	}
	all := make([]*fresh, 2)
	var starting sync.WaitGroup
	for i := range all {
		l := listen(t)
		environ := append(settingsOf(t, l), "SLIPWAY_DATABASE="+address.Reveal(), "SLIPWAY_KEY_FILE="+key)
		starting.Go(func() { all[i] = startFresh(t, environ, l) })
	}
	starting.Wait()
	if t.Failed() {
		t.FailNow()
	}
	defer func() {
		for _, g := range all {
			g.stop()
		}
	}()
	tokens := append(all[0].tokens(t), all[1].tokens(t)...)
	if len(tokens) != 1 {
		t.Fatalf("tokens: got %q, want one", tokens)
	}
	var mu sync.Mutex
	responses := map[int]int{}
	var using sync.WaitGroup
	for i := range 10 {
		using.Go(func() {
			status := all[i%2].post(t, "/signin/token", "token", tokens[0])
			mu.Lock()
			defer mu.Unlock()
			responses[status]++
		})
	}
	using.Wait()
	if responses[http.StatusSeeOther] != 1 || responses[http.StatusGone] != 9 {
		t.Errorf("statuses: got %v, want one success", responses)
	}
	sealer, err := seal.LoadOrCreate(key, false)
	if err != nil {
		t.Fatal(err)
	}
	users, err := storetest.OpenPostgresAt(t, address, sealer, nil).Users(t.Context())
	if err != nil || len(users) != 1 {
		t.Fatalf("users: got %+v, %v, want one", users, err)
	}
	if got := users[0].Role; got != autobuild.RoleAdmin {
		t.Errorf("got role %s, want an administrator", got)
	}
}

// fresh is a running gateway.
type fresh struct {
	url  string
	log  *logged
	stop func()
}

// startFresh starts a gateway and returns when it serves. It may be called from any goroutine, and
// reports failures to the test.
func startFresh(t *testing.T, environ []string, l net.Listener) *fresh {
	t.Helper()
	f := &fresh{url: "http://" + l.Addr().String(), log: &logged{}, stop: func() {}}
	c, err := config.LoadGateway(environ)
	if err != nil {
		t.Error(err)
		return f
	}
	logger := logrus.New()
	logger.SetOutput(f.log)
	logger.SetFormatter(&logrus.JSONFormatter{})
	g, err := New(t.Context(), Options{Config: c, Listener: l, Log: logger})
	if err != nil {
		t.Error(err)
		return f
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	// The listener exists already, and the token is logged before the first response.
	resp, err := http.Get(f.url + "/readyz")
	if err != nil {
		t.Error(err)
		return f
	}
	resp.Body.Close()
	return f
}

// relisten listens at the address of a closed listener.
func relisten(t *testing.T, l net.Listener) net.Listener {
	t.Helper()
	again, err := new(net.ListenConfig).Listen(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// tokens returns the one-time tokens in the log of the gateway.
func (f *fresh) tokens(t *testing.T) []string {
	t.Helper()
	var all []string
	for line := range strings.Lines(f.log.String()) {
		var entry struct {
			Token string `json:"one_time_token"`
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		if entry.Token != "" {
			all = append(all, entry.Token)
		}
	}
	return all
}

// post sends a form and returns the status of the response, without following a redirect. 0 = no
// response.
func (f *fresh) post(t *testing.T, path, field, value string) int {
	req, err := http.NewRequestWithContext(
		t.Context(),
		http.MethodPost,
		f.url+path,
		strings.NewReader(url.Values{field: {value}}.Encode()),
	)
	if err != nil {
		t.Error(err)
		return 0
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", f.url)
	return f.do(t, req)
}

// getAs requests a page with a credential, sent in every way that a client can send one.
func (f *fresh) getAs(t *testing.T, path, credential string) int {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.url+path, nil)
	if err != nil {
		t.Error(err)
		return 0
	}
	req.SetBasicAuth(credential, credential)
	req.Header.Add("Authorization", "Bearer "+credential)
	for _, name := range []string{"slipway", "__Host-slipway"} {
		req.Header.Add("Cookie", fmt.Sprintf("%s=%s", name, url.QueryEscape(credential)))
	}
	return f.do(t, req)
}

func (f *fresh) do(t *testing.T, req *http.Request) int {
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		t.Error(err)
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// logged is a buffer for concurrent log output.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
