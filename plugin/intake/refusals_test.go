package intake_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/intake"
)

// A8: A flood of requests to unknown webhooks writes one line a minute, with their number, and does
// not hide the rejections of known webhooks.
func TestA8RejectedDeliveriesAreLoggedOnceAMinute(t *testing.T) {
	log, lines := logtest.NewNullLogger()
	log.SetLevel(logrus.InfoLevel)
	e := newEnv(t, autobuild.Cloud, func(o *intake.Options) { o.Log = log })
	body := []byte(`{}`)
	refuse := func(hook string) {
		t.Helper()
		err := e.Receive(t.Context(), hook, signed(body, secret.New("guess")), body)
		if !errors.Is(err, intake.ErrUnauthorized) {
			t.Fatalf("receive: got %v, want ErrUnauthorized", err)
		}
	}
	flood := func(n int) {
		for i := range n {
			refuse(fmt.Sprintf("unknown-%d", i))
		}
	}
	counts := func(known bool) []int {
		var all []int
		for _, e := range lines.AllEntries() {
			if e.Data["known"] != known {
				continue
			}
			n, ok := e.Data["refused"].(int)
			if !ok {
				t.Errorf("line %q: got refused %v, want a number", e.Message, e.Data["refused"])
			}
			all = append(all, n)
		}
		return all
	}
	flood(300)
	refuse(e.hook.ID)
	e.now = e.now.Add(time.Minute)
	flood(1)
	if got := fmt.Sprint(counts(false)); got != "[1 300]" {
		t.Errorf("lines of unknown webhooks: got numbers %s, want [1 300]", got)
	}
	if got := fmt.Sprint(counts(true)); got != "[1]" {
		t.Errorf("lines of the known webhook: got numbers %s, want [1]", got)
	}
}
