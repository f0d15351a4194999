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

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/intake"
)

// I2: While secrets are replaced, no delivery with the sender's current secret is rejected. The
// secret before the previous one is invalid.
func TestI2RotationUnderLoadRejectsNothing(t *testing.T) {
	const rotations, senders = 20, 4
	e := newEnv(t, autobuild.Cloud)
	var (
		sender   sync.RWMutex // locked while the sender changes its secret, between two deliveries
		key      = current
		accepted atomic.Int64
		stop     = make(chan struct{})
		load     sync.WaitGroup
	)
	deliver := func(n int) error {
		sender.RLock()
		defer sender.RUnlock()
		body := fmt.Appendf(nil, `{"n":%d}`, n)
		return e.Receive(t.Context(), e.hook.ID, signed(body, key), body)
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
	hook := e.hook
	for i := range rotations {
		waitForMore(t, &accepted)
		var err error
		hook, err = e.store.ReplaceHookSecret(t.Context(), hook, secret.New(fmt.Sprintf("secret number %d", i)),
			start.Add(time.Hour))
		must.Succeed(t, err)
		waitForMore(t, &accepted) // still with the previous secret
		sender.Lock()
		key = hook.Secret
		sender.Unlock()
	}
	close(stop)
	load.Wait()
	body := []byte(`{}`)
	if err := e.Receive(t.Context(), e.hook.ID, signed(body, current), body); !errors.Is(err, intake.ErrUnauthorized) {
		t.Errorf("first secret, %d rotations later: got error %v, want ErrUnauthorized", rotations, err)
	}
}

// waitForMore waits until five more deliveries were accepted.
func waitForMore(t *testing.T, accepted *atomic.Int64) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for began := accepted.Load(); accepted.Load() < began+5; {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("deliveries: got only %d, want more", accepted.Load())
		}
		if t.Failed() {
			t.FailNow()
		}
	}
}

// I10: The response time does not show whether a webhook exists. The test alternates between a
// known and an unknown webhook, so that other load on the machine slows both.
func TestI10ResponseTimeDoesNotShowWhetherAWebhookExists(t *testing.T) {
	rounds := 400
	if os.Getenv("SLIPWAY_TRUST") != "" {
		rounds = 10_000
	}
	e := newEnv(t, autobuild.Cloud)
	body := bytes.Repeat([]byte(" "), 64<<10) // large enough that a skipped verification would be measurable
	wrong := signed(body, secret.New("guess"))
	took := map[string][]time.Duration{}
	for range rounds {
		for _, hook := range []string{e.hook.ID, "0123456789abcdef"} {
			began := time.Now()
			if err := e.Receive(t.Context(), hook, wrong, body); !errors.Is(err, intake.ErrUnauthorized) {
				t.Fatal(err)
			}
			took[hook] = append(took[hook], time.Since(began))
		}
	}
	median := func(hook string) time.Duration {
		slices.Sort(took[hook])
		return took[hook][rounds/2]
	}
	known, unknown := median(e.hook.ID), median("0123456789abcdef")
	t.Logf("medians of %d: known %s, unknown %s", rounds, known, unknown)
	if max(known, unknown) > min(known, unknown)*3/2 {
		t.Errorf("medians of %d: got %s for a known webhook and %s for an unknown one, want about the same",
			rounds, known, unknown)
	}
}
