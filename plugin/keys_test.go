package plugin

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config"
	"slipway/config/must"
	"slipway/plugin/doctor"
	"slipway/plugin/rekey"
)

// changeLogged is the line of a gateway that has read a changed key file.
const changeLogged = "the key file has changed"

// S1: a running gateway takes a new key and drops the old one without a restart, and starts without the
// old one.
func TestS1ARunningGatewayTakesANewKey(t *testing.T) {
	l := listen(t)
	environ := settingsOf(t, l)
	c, err := config.LoadGateway(environ)
	must.Succeed(t, err)
	log, stop := serveLogged(t, c, l)
	var printed bytes.Buffer
	must.Succeed(t, rekey.Run(t.Context(), &printed, rekey.Options{Config: c}))
	if !strings.Contains(printed.String(), "new values are sealed with key 2") {
		t.Errorf("output: got %q, want the new key in use", printed.String())
	}
	keys, err := os.ReadFile(c.Key)
	must.Succeed(t, err)
	must.Succeed(t, rekey.RemoveOldKeys(t.Context(), &printed, rekey.Options{Config: c}))
	awaitChanges(t, c, log, 2)
	stop()
	if strings.Contains(log.String(), "keys not reported") {
		t.Errorf("log: got %q, want no error of the keys", log)
	}

	log, stop = serveLogged(t, c, relisten(t, l))
	var findings bytes.Buffer
	_ = doctor.Run(t.Context(), &findings, doctor.Options{Environ: environ}) // other checks fail here
	if want := "stored secrets open with key 2\n"; !strings.Contains(findings.String(), want) {
		t.Errorf("doctor: got %q, want a line with %q", findings.String(), want)
	}
	stop()
	for line := range strings.Lines(string(keys)) {
		if _, key, found := strings.Cut(strings.TrimSpace(line), " "); found && !strings.HasPrefix(line, "#") &&
			strings.Contains(printed.String()+findings.String()+log.String(), key) {
			t.Error("output: got a key in it, want none")
		}
	}
}

// serveLogged runs a gateway. stop ends it.
func serveLogged(t *testing.T, c config.Gateway, l net.Listener) (log *logged, stop func()) {
	t.Helper()
	log = &logged{}
	logger := logrus.New()
	logger.SetOutput(log)
	g, err := New(t.Context(), Options{Config: c, Listener: l, Log: logger})
	must.Succeed(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	return log, func() {
		cancel()
		must.Succeed(t, <-ended)
	}
}

// awaitChanges waits until a gateway has read n changes of its key file. It stays ready.
func awaitChanges(t *testing.T, c config.Gateway, log *logged, n int) {
	t.Helper()
	tick := time.NewTicker(keysInterval / 10)
	defer tick.Stop()
	timeout := time.After(20 * time.Second)
	for strings.Count(log.String(), changeLogged) < n {
		response, err := http.Get(c.URL + "/readyz")
		must.Succeed(t, err)
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Fatalf("readyz during the change of the key: got %d, want 200", response.StatusCode)
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("log: got %q, want %d changes of the key file", log, n)
		}
	}
}
