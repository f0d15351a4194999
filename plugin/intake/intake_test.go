package intake_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/webhook"
	"slipway/plugin/intake"
	"slipway/plugin/store"
	"slipway/plugin/store/storetest"
)

var (
	current  = secret.New("the current secret")
	previous = secret.New("the previous secret")
	start    = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
)

// desk is an Intake on a real store with one webhook.
type desk struct {
	*intake.Intake
	store *store.Store
	hook  autobuild.Hook
	now   time.Time
}

func newDesk(t *testing.T, kind autobuild.ProviderKind, change ...func(*intake.Options)) *desk {
	t.Helper()
	d := &desk{now: start}
	d.store = storetest.OpenAt(t, t.TempDir(), func() time.Time { return d.now })
	provider, err := d.store.SaveProvider(t.Context(), autobuild.Provider{Kind: kind, Name: "bitbucket"})
	must(t, err)
	d.hook, err = d.store.SaveHook(t.Context(), autobuild.Hook{
		Repository: autobuild.Repository{ProviderID: provider.ID, ID: "{1}", FullName: "acme/app"},
		Secret:     current, PreviousSecret: previous, PreviousUntil: start.Add(time.Hour), State: autobuild.HookActive,
	})
	must(t, err)
	o := intake.Options{Store: d.store, Now: func() time.Time { return d.now }, Log: quiet()}
	for _, f := range change {
		f(&o)
	}
	d.Intake = intake.New(o)
	return d
}

func quiet() logrus.FieldLogger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return log
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func signed(body []byte, key secret.Secret) http.Header {
	return http.Header{"X-Event-Key": {"repo:push"}, webhook.SignatureHeader: {webhook.Sign(body, key)}}
}

func (d *desk) stored(t *testing.T) []autobuild.Delivery {
	t.Helper()
	all, err := d.store.Deliveries(t.Context(), autobuild.DeliveryFilter{})
	must(t, err)
	return all
}

func TestReceiveStoresTheDeliveryAsItCame(t *testing.T) {
	d := newDesk(t, autobuild.Cloud)
	body := []byte("{\"not\": read,\xff}")
	header := signed(body, current)
	for name, value := range map[string]string{
		"X-Request-Uuid": "r-1", "X-Hook-Uuid": "h-1", "X-Attempt-Number": "2", "User-Agent": strings.Repeat("u", 600),
		"Content-Type": "application/json", "Cookie": "session=1", "Authorization": "Bearer x", "X-Forwarded-For": "8.8.8.8",
	} {
		header.Set(name, value)
	}
	must(t, d.Receive(t.Context(), d.hook.ID, header, body))

	all := d.stored(t)
	if len(all) != 1 {
		t.Fatalf("%d deliveries, want 1", len(all))
	}
	got, err := d.store.Delivery(t.Context(), all[0].ID)
	must(t, err)
	want := autobuild.Delivery{
		ID: all[0].ID, HookID: d.hook.ID, Event: "repo:push", RequestID: "r-1", Body: body,
		ReceivedAt: start, State: autobuild.DeliveryReceived,
		Header: http.Header{
			"X-Event-Key": {"repo:push"}, "X-Request-Uuid": {"r-1"}, "X-Hook-Uuid": {"h-1"}, "X-Attempt-Number": {"2"},
			"User-Agent": {strings.Repeat("u", 512)}, "Content-Type": {"application/json"},
		},
	}
	if diff := cmp.Diff(want, got,
		cmp.Transformer("utc", func(t time.Time) int64 { return t.UnixMilli() })); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	hook, err := d.store.Hook(t.Context(), d.hook.ID)
	must(t, err)
	if !hook.DeliveredAt.Equal(start) {
		t.Errorf("hook delivered at %s, want %s", hook.DeliveredAt, start)
	}
}

func TestDataCenterNamesTheRequestOtherwise(t *testing.T) {
	d := newDesk(t, autobuild.DataCenter)
	body := []byte("{}")
	header := signed(body, current)
	header.Set("X-Request-Id", "dc-1")
	must(t, d.Receive(t.Context(), d.hook.ID, header, body))
	if got := d.stored(t)[0].RequestID; got != "dc-1" {
		t.Errorf("request id %q", got)
	}
}

// I1, I10, W2: whatever is wrong with hook or signature, the answer is the same and nothing
// is stored.
func TestI1I10W2ForgedDeliveriesAreRefusedAlike(t *testing.T) {
	d := newDesk(t, autobuild.Cloud)
	body := []byte(`{}`)
	sign := webhook.Sign(body, current)
	tests := map[string]struct {
		hook   string
		header http.Header
	}{
		"no signature":        {d.hook.ID, http.Header{}},
		"empty":               {d.hook.ID, http.Header{webhook.SignatureHeader: {""}}},
		"sha1":                {d.hook.ID, http.Header{webhook.SignatureHeader: {"sha1=0000"}}},
		"no digits":           {d.hook.ID, http.Header{webhook.SignatureHeader: {"sha256="}}},
		"not hex":             {d.hook.ID, http.Header{webhook.SignatureHeader: {"sha256=" + strings.Repeat("z", 64)}}},
		"two headers":         {d.hook.ID, http.Header{webhook.SignatureHeader: {sign, sign}}},
		"other key":           {d.hook.ID, signed(body, secret.New("guess"))},
		"empty key":           {d.hook.ID, signed(body, secret.Secret{})},
		"upper case":          {d.hook.ID, http.Header{webhook.SignatureHeader: {strings.ToUpper(sign)}}},
		"63 digits":           {d.hook.ID, http.Header{webhook.SignatureHeader: {sign[:len(sign)-1]}}},
		"65 digits":           {d.hook.ID, http.Header{webhook.SignatureHeader: {sign + "0"}}},
		"W3 other bytes":      {d.hook.ID, signed([]byte(`{ }`), current)},
		"unknown hook":        {"nobody", signed(body, current)},
		"unknown hook, blank": {"", http.Header{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := d.Receive(t.Context(), tt.hook, tt.header, body)
			if err != intake.ErrUnauthorized ||
				!errors.Is(err, autobuild.ErrUnauthorized) { //nolint:errorlint // nothing may tell one refusal from another
				t.Errorf("Receive = %v, want exactly ErrUnauthorized", err)
			}
		})
	}
	if n := len(d.stored(t)); n != 0 {
		t.Errorf("%d deliveries stored", n)
	}
}

func TestI1AHookWithoutASecretTakesNothing(t *testing.T) {
	d := newDesk(t, autobuild.Cloud)
	must(t, d.store.DeleteHook(t.Context(), d.hook.ID))
	d.hook.Secret, d.hook.PreviousSecret = secret.Secret{}, secret.Secret{}
	_, err := d.store.SaveHook(t.Context(), d.hook)
	must(t, err)
	if err := d.Receive(t.Context(), d.hook.ID, signed(nil, secret.Secret{}), nil); !errors.Is(err,
		intake.ErrUnauthorized) {
		t.Errorf("Receive = %v", err)
	}
}

func TestW5I2RotatedSecret(t *testing.T) {
	d := newDesk(t, autobuild.Cloud)
	body := []byte(`{}`)
	must(t, d.Receive(t.Context(), d.hook.ID, signed(body, current), body))
	must(t, d.Receive(t.Context(), d.hook.ID, signed(body, previous), body))

	d.now = d.hook.PreviousUntil
	must(t, d.Receive(t.Context(), d.hook.ID, signed(body, current), body))
	if err := d.Receive(t.Context(), d.hook.ID, signed(body, previous), body); !errors.Is(err, intake.ErrUnauthorized) {
		t.Errorf("previous secret after its time: %v", err)
	}

	_, err := d.store.ReplaceHookSecret(t.Context(), d.hook, secret.New("newest"), d.now.Add(time.Hour))
	must(t, err)
	for _, key := range []secret.Secret{current, secret.New("newest")} {
		must(t, d.Receive(t.Context(), d.hook.ID, signed(body, key), body))
	}
	if n := len(d.stored(t)); n != 5 {
		t.Errorf("%d deliveries stored, want 5", n)
	}
}

func TestW19PingIsAnsweredWithoutAction(t *testing.T) {
	d := newDesk(t, autobuild.DataCenter)
	for _, hook := range []string{d.hook.ID, "nobody"} {
		must(t, d.Receive(t.Context(), hook, http.Header{"X-Event-Key": {"diagnostics:ping"}}, []byte(`{"test":true}`)))
	}
	if n := len(d.stored(t)); n != 0 {
		t.Errorf("%d deliveries stored", n)
	}
}

func TestW24SizeLimits(t *testing.T) {
	for _, tt := range []struct {
		kind autobuild.ProviderKind
		size int
		want error
	}{
		{autobuild.Cloud, 1 << 20, nil},
		{autobuild.Cloud, 1<<20 + 1, intake.ErrTooLarge},
		{autobuild.DataCenter, 10 << 20, nil},
		{autobuild.DataCenter, 10<<20 + 1, intake.ErrTooLarge},
	} {
		d := newDesk(t, tt.kind)
		body := bytes.Repeat([]byte{' '}, tt.size)
		if err := d.Receive(t.Context(), d.hook.ID, signed(body, current), body); !errors.Is(err, tt.want) {
			t.Errorf("%s, %d bytes: %v, want %v", tt.kind, tt.size, err, tt.want)
		}
	}
}

// weak is a store that is busy for a while.
type weak struct {
	intake.Store
	mu                        sync.Mutex
	fails                     int // commits that fail before one succeeds; negative = all
	hookErr, provErr, touched error
	commits, touches          int
	hang                      bool // touching waits for its end
}

var errBusy = errors.New("database is locked")

func (w *weak) ReceiveDelivery(ctx context.Context, d autobuild.Delivery) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.commits++
	if w.fails != 0 {
		w.fails--
		return "", errBusy
	}
	return w.Store.ReceiveDelivery(ctx, d)
}

func (w *weak) Hook(ctx context.Context, id string) (autobuild.Hook, error) {
	if w.hookErr != nil {
		return autobuild.Hook{}, w.hookErr
	}
	return w.Store.Hook(ctx, id)
}

func (w *weak) Provider(ctx context.Context, id string) (autobuild.Provider, error) {
	if w.provErr != nil {
		return autobuild.Provider{}, w.provErr
	}
	return w.Store.Provider(ctx, id)
}

func (w *weak) TouchHook(ctx context.Context, id string, delivered, polled time.Time) error {
	w.touches++
	if w.hang {
		<-ctx.Done()
		return ctx.Err()
	}
	if w.touched != nil {
		return w.touched
	}
	return w.Store.TouchHook(ctx, id, delivered, polled)
}

func newWeakDesk(t *testing.T, w *weak, change ...func(*intake.Options)) *desk {
	return newDesk(t, autobuild.Cloud, append(change, func(o *intake.Options) {
		w.Store = o.Store
		o.Store = w
		if w.fails < 0 {
			o.Patience = 50 * time.Millisecond
		}
	})...)
}

func TestABusyStoreIsTriedAgain(t *testing.T) {
	w := &weak{fails: 3}
	d := newWeakDesk(t, w)
	body := []byte(`{}`)
	must(t, d.Receive(t.Context(), d.hook.ID, signed(body, current), body))
	if n := len(d.stored(t)); n != 1 || w.commits != 4 {
		t.Errorf("%d deliveries after %d commits, want 1 after 4", n, w.commits)
	}
}

func TestAStoreThatStaysBusyIsUnavailable(t *testing.T) {
	body := []byte(`{}`)
	for name, w := range map[string]*weak{
		"commit":   {fails: -1},
		"hook":     {hookErr: errBusy},
		"provider": {provErr: errBusy},
	} {
		d := newWeakDesk(t, w)
		err := d.Receive(t.Context(), d.hook.ID, signed(body, current), body)
		if !errors.Is(err, autobuild.ErrUnavailable) || errors.Is(err, autobuild.ErrUnauthorized) {
			t.Errorf("%s: %v, want ErrUnavailable", name, err)
		}
	}
}

func TestAnUnknownKindOfProviderIsUnavailable(t *testing.T) {
	d := newDesk(t, "github")
	body := []byte(`{}`)
	if err := d.Receive(t.Context(), d.hook.ID, signed(body, current), body); !errors.Is(err,
		autobuild.ErrUnavailable) {
		t.Errorf("Receive = %v", err)
	}
}

func TestTheHookIsTouchedSeldomAndItsFaultsCostNothing(t *testing.T) {
	w := &weak{touched: errBusy}
	d := newWeakDesk(t, w)
	body := []byte(`{}`)
	for range 5 {
		must(t, d.Receive(t.Context(), d.hook.ID, signed(body, current), body))
	}
	d.now = d.now.Add(time.Minute)
	must(t, d.Receive(t.Context(), d.hook.ID, signed(body, current), body))
	if w.touches != 2 {
		t.Errorf("touched %d times, want 2", w.touches)
	}
}

// A database that hangs after the commit does not hold up the answer to a delivery that is safe.
func TestAHookThatCannotBeTouchedHoldsUpNothing(t *testing.T) {
	d := newWeakDesk(t, &weak{hang: true})
	body := []byte(`{}`)
	began := time.Now()
	must(t, d.Receive(t.Context(), d.hook.ID, signed(body, current), body))
	if took := time.Since(began); took > 5*time.Second || len(d.stored(t)) != 1 {
		t.Errorf("%d deliveries stored in %s, want 1 in about a second", len(d.stored(t)), took)
	}
}
