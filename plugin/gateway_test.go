package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config"
	"slipway/config/discard"
	"slipway/plugin/bitbucket/bitbuckettest"
)

// settingsOf returns the settings of a gateway with an emulated Bitbucket.
func settingsOf(t *testing.T, listener net.Listener) []string {
	t.Helper()
	bitbucket, err := bitbuckettest.New(bitbuckettest.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bitbucket.Close)
	server := httptest.NewServer(bitbucket)
	t.Cleanup(server.Close)
	url := "http://" + listener.Addr().String()
	acme := bitbucket.AddWorkspace("acme", bitbucket.AddUser("alice"))
	consumer, err := bitbucket.AddConsumer(acme, url+"/oauth/bitbucket/callback", "account", "repository", "webhook")
	if err != nil {
		t.Fatal(err)
	}
	return []string{
		"SLIPWAY_URL=" + url, "SLIPWAY_DATA=" + filepath.Join(t.TempDir(), "data"),
		"SLIPWAY_BITBUCKET_URL=" + server.URL, "SLIPWAY_BITBUCKET_API_URL=" + server.URL,
		"SLIPWAY_BITBUCKET_CLIENT_ID=" + consumer.Key, "SLIPWAY_BITBUCKET_CLIENT_SECRET=" + consumer.Secret.Reveal(),
		"SLIPWAY_BUILDER=tcp://127.0.0.1:1",
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// serve runs a gateway. stop ends it and returns its log.
func serve(t *testing.T, environ []string, l net.Listener) (stop func() string) {
	t.Helper()
	c, err := config.LoadGateway(environ)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	logger := logrus.New()
	logger.SetOutput(&log)
	logger.SetFormatter(&logrus.JSONFormatter{})
	g, err := New(t.Context(), Options{Config: c, Listener: l, Log: logger})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	return func() string {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		return log.String()
	}
}

func TestGatewayServesAndLogsOneToken(t *testing.T) {
	l := listen(t)
	environ := settingsOf(t, l)
	url := "http://" + l.Addr().String()
	stop := serve(t, environ, l)
	for path, want := range map[string]int{"/healthz": http.StatusOK, "/readyz": http.StatusOK, "/signin": http.StatusOK, "/hooks/bitbucket/none": http.StatusNotFound} {
		resp, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want && resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s: got status %s, want %d", path, resp.Status, want)
		}
	}
	log := stop()
	tokens := 0
	for line := range strings.Lines(log) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		if entry["one_time_token"] != nil {
			tokens++
		}
	}
	if tokens != 1 {
		t.Errorf("one-time tokens in the log: got %d, want 1:\n%s", tokens, log)
	}
}

// A browser that follows a log never ends its request. Such a request does not prevent the gateway
// from stopping, and is no error.
func TestGatewayStopsDuringARequest(t *testing.T) {
	l := listen(t)
	stop := serve(t, settingsOf(t, l), l)
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ready, err := http.Get("http://" + l.Addr().String() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	ready.Body.Close()
	_, err = io.WriteString(
		conn,
		"POST /hooks/bitbucket/none HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n",
	)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, len("HTTP/1.1 100 Continue"))); err != nil {
		t.Fatal(err) // the server sends this when the handler reads the body
	}
	began := time.Now()
	stop()
	if took := time.Since(began); took > 2*shutdownTimeout {
		t.Errorf("time to stop: got %s, want at most %s", took, 2*shutdownTimeout)
	}
}

func TestNewNamesTheSettingOfAnError(t *testing.T) {
	l := listen(t)
	defer l.Close()
	environ := settingsOf(t, l)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ setting, want string }{
		"port taken":     {"SLIPWAY_LISTEN=" + l.Addr().String(), "SLIPWAY_LISTEN"},
		"metrics port":   {"SLIPWAY_METRICS_LISTEN=" + l.Addr().String(), "SLIPWAY_METRICS_LISTEN"},
		"data is a file": {"SLIPWAY_DATA=" + file, "SLIPWAY_DATA"},
		"runner user":    {"SLIPWAY_RUNNER_USER=root", "SLIPWAY_RUNNER_USER=root"},
	} {
		t.Run(name, func(t *testing.T) {
			all := append(append([]string{}, environ...), "SLIPWAY_LISTEN=127.0.0.1:0", tc.setting)
			c, err := config.LoadGateway(all)
			if err != nil {
				t.Fatal(err)
			}
			_, err = New(t.Context(), Options{Config: c, Log: discard.Logger()})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("construct the gateway: got %v, want an error that names %s", err, tc.want)
			}
		})
	}
}

func TestRunnerUser(t *testing.T) {
	for _, tc := range []struct {
		setting string
		euid    int
		want    string // in the error; empty = no error
	}{
		{"", 0, ""},
		{"7000:7001", 0, ""},
		{"", 1000, ""},
		{"7000:7001", 1000, "unset it"},
		{"7000", 0, "uid:gid"},
		{"0:0", 0, "uid:gid"},
		{"a:b", 0, "uid:gid"},
		{"-1:5", 0, "uid:gid"},
	} {
		err := checkRunnerUser(tc.setting, tc.euid)
		if (err != nil) != (tc.want != "") {
			t.Errorf("checkRunnerUser(%q, %d): got error %v, want %q", tc.setting, tc.euid, err, tc.want)
		}
		if err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("checkRunnerUser(%q, %d): got error %v, want %q in it", tc.setting, tc.euid, err, tc.want)
		}
	}
}

// scrape requests the metrics, with a token unless it is empty. It returns the status and the text.
func scrape(t *testing.T, url, token string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestMetricsDescribeARunningGateway(t *testing.T) {
	const token = "0123456789abcdef"
	l := listen(t)
	stop := serve(t, append(settingsOf(t, l), "SLIPWAY_METRICS_TOKEN="+token), l)
	url := "http://" + l.Addr().String()
	forged, err := http.Post(url+"/hooks/bitbucket/none", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	forged.Body.Close()
	if status, _ := scrape(t, url, ""); status != http.StatusUnauthorized {
		t.Errorf("without the token: got %d, want 401", status)
	}
	status, text := scrape(t, url, token)
	for _, want := range []string{
		"slipway_database_up 1\n", `slipway_deliveries_received_total{answer="unauthorized"} 1`, `slipway_builds{engine="embedded",state="queued"} 0`,
		`slipway_http_requests_total{code="401",method="POST",route="/hooks/bitbucket/:id"} 1`, `slipway_engine_circuit_open{engine="own"} 0`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("got status %d and no metric %s", status, want)
		}
	}
	log := stop()
	if strings.Contains(text, token) {
		t.Error("metrics: got the token in them, want none")
	}
	if strings.Contains(log, token) {
		t.Error("log: got the token in it, want none")
	}
}

func TestMetricsAtAnAddressOfTheirOwn(t *testing.T) {
	free := listen(t)
	address := free.Addr().String()
	free.Close()
	l := listen(t)
	stop := serve(t, append(settingsOf(t, l), "SLIPWAY_METRICS_LISTEN="+address), l)
	status, text := scrape(t, "http://"+address, "")
	if status != http.StatusOK {
		t.Errorf("at the address of the metrics: got %d, want 200", status)
	}
	if !strings.Contains(text, "slipway_database_up 1\n") {
		t.Errorf("metrics: got %.200s, want metrics", text)
	}
	if status, _ := scrape(t, "http://"+l.Addr().String(), ""); status != http.StatusNotFound {
		t.Errorf("at the public address: got %d, want 404", status)
	}
	stop()
}

func TestBuildsPerDomainFollowsTheCaps(t *testing.T) {
	for name, c := range map[string]struct {
		config config.Gateway
		want   int
	}{
		"half of all":             {config.Gateway{Concurrency: 4, CacheDomain: "automated-build"}, 2},
		"the cap of a build":      {config.Gateway{Concurrency: 4, PerBuild: 3, CacheDomain: "automated-build"}, 3},
		"all of a workspace":      {config.Gateway{Concurrency: 4, CacheDomain: "workspace"}, 4},
		"the cap of a workspace":  {config.Gateway{Concurrency: 4, PerWorkspace: 3, CacheDomain: "workspace"}, 3},
		"one build on one engine": {config.Gateway{Concurrency: 1, CacheDomain: "automated-build"}, 1},
	} {
		if got := buildsPerDomain(c.config); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
}
