package intake_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/intake"
)

// I2: while secrets are changed one after the other, no delivery that is signed with the
// sender's secret of the moment is refused, and the one before last is worth nothing.
func TestI2RotationUnderLoadRefusesNothing(t *testing.T) {
	const rotations, senders = 20, 4
	d := newDesk(t, autobuild.Cloud)
	var (
		sender   sync.RWMutex // the sender changes its secret after we did, between two deliveries
		key      = current
		accepted atomic.Int64
		stop     = make(chan struct{})
		load     sync.WaitGroup
	)
	deliver := func(n int) error {
		sender.RLock()
		defer sender.RUnlock()
		body := fmt.Appendf(nil, `{"n":%d}`, n)
		return d.Receive(t.Context(), d.hook.ID, signed(body, key), body)
	}
	for range senders {
		load.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := deliver(n); err != nil {
					t.Errorf("delivery %d: %v", n, err)
					return
				}
				accepted.Add(1)
			}
		})
	}
	hook := d.hook
	for i := range rotations {
		waitForMore(t, &accepted)
		var err error
		hook, err = d.store.ReplaceHookSecret(t.Context(), hook, secret.New(fmt.Sprintf("secret number %d", i)),
			start.Add(time.Hour))
		must(t, err)
		waitForMore(t, &accepted) // signed with the previous one still
		sender.Lock()
		key = hook.Secret
		sender.Unlock()
	}
	close(stop)
	load.Wait()
	body := []byte(`{}`)
	if err := d.Receive(t.Context(), d.hook.ID, signed(body, current), body); !errors.Is(err, intake.ErrUnauthorized) {
		t.Errorf("the first secret, %d rotations later: %v", rotations, err)
	}
}

// waitForMore waits until further deliveries were accepted.
func waitForMore(t *testing.T, accepted *atomic.Int64) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for began := accepted.Load(); accepted.Load() < began+5; {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("deliveries stopped at %d", accepted.Load())
		}
		if t.Failed() {
			t.FailNow()
		}
	}
}

// I10: what a stranger measures does not tell a webhook that exists from one that does not. The
// two are asked in turns, so that what else happens here slows both.
func TestI10TimeTellsNothingOfAWebhook(t *testing.T) {
	rounds := 400
	if os.Getenv("SLIPWAY_TRUST") != "" {
		rounds = 10_000
	}
	d := newDesk(t, autobuild.Cloud)
	body := bytes.Repeat([]byte(" "), 64<<10) // large enough that a signature not looked at would show
	wrong := signed(body, secret.New("guess"))
	took := map[string][]time.Duration{}
	for range rounds {
		for _, hook := range []string{d.hook.ID, "0123456789abcdef"} {
			began := time.Now()
			if err := d.Receive(t.Context(), hook, wrong, body); !errors.Is(err, intake.ErrUnauthorized) {
				t.Fatal(err)
			}
			took[hook] = append(took[hook], time.Since(began))
		}
	}
	median := func(hook string) time.Duration {
		slices.Sort(took[hook])
		return took[hook][rounds/2]
	}
	known, unknown := median(d.hook.ID), median("0123456789abcdef")
	t.Logf("medians of %d: known %s, unknown %s", rounds, known, unknown)
	if known > unknown*3/2 || unknown > known*3/2 {
		t.Errorf("medians of %d: a known webhook takes %s, an unknown one %s", rounds, known, unknown)
	}
}
