package intake_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/config/discard"
	"slipway/config/must"
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

// env is an Intake on a real store with one webhook.
type env struct {
	*intake.Intake
	store *store.Store
	hook  autobuild.Hook
	now   time.Time
}

func newEnv(t *testing.T, kind autobuild.ProviderKind, change ...func(*intake.Options)) *env {
	t.Helper()
	e := &env{now: start}
	e.store = storetest.OpenAt(t, t.TempDir(), func() time.Time { return e.now })
	provider, err := e.store.SaveProvider(t.Context(), autobuild.Provider{Kind: kind, Name: "bitbucket"})
	must.Succeed(t, err)
	e.hook, err = e.store.SaveHook(t.Context(), autobuild.Hook{
		Repository: autobuild.Repository{ProviderID: provider.ID, ID: "{1}", FullName: "acme/app"},
		Secret:     current, PreviousSecret: previous, PreviousUntil: start.Add(time.Hour), State: autobuild.HookActive,
	})
	must.Succeed(t, err)
	o := intake.Options{Store: e.store, Now: func() time.Time { return e.now }, Log: discard.Logger()}
	for _, f := range change {
		f(&o)
	}
	e.Intake = intake.New(o)
	return e
}

func signed(body []byte, key secret.Secret) http.Header {
	return http.Header{"X-Event-Key": {"repo:push"}, webhook.SignatureHeader: {webhook.Sign(body, key)}}
}

func (e *env) stored(t *testing.T) []autobuild.Delivery {
	t.Helper()
	all, err := e.store.Deliveries(t.Context(), autobuild.DeliveryFilter{})
	must.Succeed(t, err)
	return all
}

func TestReceiveStoresTheDeliveryAsItCame(t *testing.T) {
	e := newEnv(t, autobuild.Cloud)
	body := []byte("{\"not\": read,\xff}")
	header := signed(body, current)
	for name, value := range map[string]string{
		"X-Request-Uuid": "r-1", "X-Hook-Uuid": "h-1", "X-Attempt-Number": "2", "User-Agent": strings.Repeat("u", 600),
		"Content-Type": "application/json", "Cookie": "session=1", "Authorization": "Bearer x", "X-Forwarded-For": "8.8.8.8",
	} {
		header.Set(name, value)
	}
	must.Succeed(t, e.Receive(t.Context(), e.hook.ID, header, body))

	all := e.stored(t)
	if len(all) != 1 {
		t.Fatalf("deliveries: got %d, want 1", len(all))
	}
	got, err := e.store.Delivery(t.Context(), all[0].ID)
	must.Succeed(t, err)
	want := autobuild.Delivery{
		ID: all[0].ID, HookID: e.hook.ID, Event: "repo:push", RequestID: "r-1", Body: body,
		ReceivedAt: start, State: autobuild.DeliveryReceived,
		Header: http.Header{
			"X-Event-Key": {"repo:push"}, "X-Request-Uuid": {"r-1"}, "X-Hook-Uuid": {"h-1"}, "X-Attempt-Number": {"2"},
			"User-Agent": {strings.Repeat("u", 512)}, "Content-Type": {"application/json"},
		},
	}
	if diff := cmp.Diff(want, got,
		cmp.Transformer("utc", func(t time.Time) int64 { return t.UnixMilli() })); diff != "" {
		t.Errorf("delivery (-want +got):\n%s", diff)
	}
	hook, err := e.store.Hook(t.Context(), e.hook.ID)
	must.Succeed(t, err)
	if !hook.DeliveredAt.Equal(start) {
		t.Errorf("time of the last delivery: got %s, want %s", hook.DeliveredAt, start)
	}
}

func TestDataCenterHasAnotherHeaderForTheRequestID(t *testing.T) {
	e := newEnv(t, autobuild.DataCenter)
	body := []byte("{}")
	header := signed(body, current)
	header.Set("X-Request-Id", "dc-1")
	must.Succeed(t, e.Receive(t.Context(), e.hook.ID, header, body))
	if got := e.stored(t)[0].RequestID; got != "dc-1" {
		t.Errorf("request id: got %q, want dc-1", got)
	}
}

// I1, I10, W2: Every wrong hook and signature gets the same error, and nothing is stored.
func TestI1I10W2ForgedDeliveriesGetTheSameError(t *testing.T) {
	e := newEnv(t, autobuild.Cloud)
	body := []byte(`{}`)
	sign := webhook.Sign(body, current)
	tests := map[string]struct {
		hook   string
		header http.Header
	}{
		"no signature":        {e.hook.ID, http.Header{}},
		"empty":               {e.hook.ID, http.Header{webhook.SignatureHeader: {""}}},
		"sha1":                {e.hook.ID, http.Header{webhook.SignatureHeader: {"sha1=0000"}}},
		"no digits":           {e.hook.ID, http.Header{webhook.SignatureHeader: {"sha256="}}},
		"not hex":             {e.hook.ID, http.Header{webhook.SignatureHeader: {"sha256=" + strings.Repeat("z", 64)}}},
		"two headers":         {e.hook.ID, http.Header{webhook.SignatureHeader: {sign, sign}}},
		"other key":           {e.hook.ID, signed(body, secret.New("guess"))},
		"empty key":           {e.hook.ID, signed(body, secret.Secret{})},
		"upper case":          {e.hook.ID, http.Header{webhook.SignatureHeader: {strings.ToUpper(sign)}}},
		"63 digits":           {e.hook.ID, http.Header{webhook.SignatureHeader: {sign[:len(sign)-1]}}},
		"65 digits":           {e.hook.ID, http.Header{webhook.SignatureHeader: {sign + "0"}}},
		"W3 other bytes":      {e.hook.ID, signed([]byte(`{ }`), current)},
		"unknown hook":        {"unknown", signed(body, current)},
		"unknown hook, blank": {"", http.Header{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := e.Receive(t.Context(), tt.hook, tt.header, body)
			if err != intake.ErrUnauthorized { //nolint:errorlint // all rejections must be the same error
				t.Errorf("receive: got %v, want exactly intake.ErrUnauthorized", err)
			}
			if !errors.Is(err, autobuild.ErrUnauthorized) {
				t.Errorf("receive: got %v, want autobuild.ErrUnauthorized", err)
			}
		})
	}
	if n := len(e.stored(t)); n != 0 {
		t.Errorf("deliveries: got %d, want none", n)
	}
}

func TestI1AHookWithoutASecretRejectsAllDeliveries(t *testing.T) {
	e := newEnv(t, autobuild.Cloud)
	must.Succeed(t, e.store.DeleteHook(t.Context(), e.hook.ID))
	e.hook.Secret, e.hook.PreviousSecret = secret.Secret{}, secret.Secret{}
	_, err := e.store.SaveHook(t.Context(), e.hook)
	must.Succeed(t, err)
	if err := e.Receive(t.Context(), e.hook.ID, signed(nil, secret.Secret{}), nil); !errors.Is(err,
		intake.ErrUnauthorized) {
		t.Errorf("receive: got %v, want ErrUnauthorized", err)
	}
}

func TestW5I2RotatedSecret(t *testing.T) {
	e := newEnv(t, autobuild.Cloud)
	body := []byte(`{}`)
	must.Succeed(t, e.Receive(t.Context(), e.hook.ID, signed(body, current), body))
	must.Succeed(t, e.Receive(t.Context(), e.hook.ID, signed(body, previous), body))

	e.now = e.hook.PreviousUntil
	must.Succeed(t, e.Receive(t.Context(), e.hook.ID, signed(body, current), body))
	if err := e.Receive(t.Context(), e.hook.ID, signed(body, previous), body); !errors.Is(err, intake.ErrUnauthorized) {
		t.Errorf("expired previous secret: got %v, want ErrUnauthorized", err)
	}

	_, err := e.store.ReplaceHookSecret(t.Context(), e.hook, secret.New("newest"), e.now.Add(time.Hour))
	must.Succeed(t, err)
	for _, key := range []secret.Secret{current, secret.New("newest")} {
		must.Succeed(t, e.Receive(t.Context(), e.hook.ID, signed(body, key), body))
	}
	if n := len(e.stored(t)); n != 5 {
		t.Errorf("stored deliveries: got %d, want 5", n)
	}
}

func TestW19PingStoresNothing(t *testing.T) {
	e := newEnv(t, autobuild.DataCenter)
	for _, hook := range []string{e.hook.ID, "unknown"} {
		must.Succeed(
			t,
			e.Receive(t.Context(), hook, http.Header{"X-Event-Key": {"diagnostics:ping"}}, []byte(`{"test":true}`)),
		)
	}
	if n := len(e.stored(t)); n != 0 {
		t.Errorf("deliveries: got %d, want none", n)
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
		e := newEnv(t, tt.kind)
		body := bytes.Repeat([]byte{' '}, tt.size)
		if err := e.Receive(t.Context(), e.hook.ID, signed(body, current), body); !errors.Is(err, tt.want) {
			t.Errorf("%s, %d bytes: got error %v, want %v", tt.kind, tt.size, err, tt.want)
		}
	}
}

// busyStore is a store whose methods fail or hang.
type busyStore struct {
	intake.Store
	mu       sync.Mutex
	fails    int   // number of commits that fail before one succeeds; negative = all
	hookErr  error // of Hook
	provErr  error // of Provider
	touchErr error // of TouchHook
	hookBusy int   // next calls of Hook that fail
	provBusy int   // next calls of Provider that fail
	commits  int
	touches  int
	hang     bool // TouchHook blocks until its context ends
}

var errBusy = errors.New("database is locked")

func (w *busyStore) ReceiveDelivery(ctx context.Context, d autobuild.Delivery) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.commits++
	if w.fails != 0 {
		w.fails--
		return "", errBusy
	}
	return w.Store.ReceiveDelivery(ctx, d)
}

func (w *busyStore) Hook(ctx context.Context, id string) (autobuild.Hook, error) {
	if w.hookErr != nil {
		return autobuild.Hook{}, w.hookErr
	}
	if w.hookBusy > 0 {
		w.hookBusy--
		return autobuild.Hook{}, errBusy
	}
	return w.Store.Hook(ctx, id)
}

func (w *busyStore) Provider(ctx context.Context, id string) (autobuild.Provider, error) {
	if w.provErr != nil {
		return autobuild.Provider{}, w.provErr
	}
	if w.provBusy > 0 {
		w.provBusy--
		return autobuild.Provider{}, errBusy
	}
	return w.Store.Provider(ctx, id)
}

func (w *busyStore) TouchHook(ctx context.Context, id string, delivered, polled time.Time) error {
	w.touches++
	if w.hang {
		<-ctx.Done()
		return ctx.Err()
	}
	if w.touchErr != nil {
		return w.touchErr
	}
	return w.Store.TouchHook(ctx, id, delivered, polled)
}

func newBusyEnv(t *testing.T, w *busyStore, change ...func(*intake.Options)) *env {
	return newEnv(t, autobuild.Cloud, append(change, func(o *intake.Options) {
		w.Store = o.Store
		o.Store = w
		if w.fails < 0 || w.hookErr != nil || w.provErr != nil {
			o.CommitTimeout = 50 * time.Millisecond
		}
	})...)
}

func TestABusyStoreIsRetried(t *testing.T) {
	w := &busyStore{fails: 3, hookBusy: 2, provBusy: 2}
	e := newBusyEnv(t, w)
	body := []byte(`{}`)
	must.Succeed(t, e.Receive(t.Context(), e.hook.ID, signed(body, current), body))
	if n := len(e.stored(t)); n != 1 {
		t.Errorf("deliveries: got %d, want 1", n)
	}
	if w.commits != 4 {
		t.Errorf("commits: got %d, want 4", w.commits)
	}
}

func TestAStoreThatStaysBusyIsUnavailable(t *testing.T) {
	body := []byte(`{}`)
	for name, w := range map[string]*busyStore{
		"commit":   {fails: -1},
		"hook":     {hookErr: errBusy},
		"provider": {provErr: errBusy},
	} {
		e := newBusyEnv(t, w)
		err := e.Receive(t.Context(), e.hook.ID, signed(body, current), body)
		if !errors.Is(err, autobuild.ErrUnavailable) {
			t.Errorf("%s: got %v, want ErrUnavailable", name, err)
		}
		if errors.Is(err, autobuild.ErrUnauthorized) {
			t.Errorf("%s: got error %v, want one that is not ErrUnauthorized", name, err)
		}
	}
}

func TestAnUnknownKindOfProviderIsUnavailable(t *testing.T) {
	e := newEnv(t, "github")
	body := []byte(`{}`)
	if err := e.Receive(t.Context(), e.hook.ID, signed(body, current), body); !errors.Is(err,
		autobuild.ErrUnavailable) {
		t.Errorf("receive: got %v, want ErrUnavailable", err)
	}
}

func TestHooksAreTouchedRarelyAndErrorsAreIgnored(t *testing.T) {
	w := &busyStore{touchErr: errBusy}
	e := newBusyEnv(t, w)
	body := []byte(`{}`)
	for range 5 {
		must.Succeed(t, e.Receive(t.Context(), e.hook.ID, signed(body, current), body))
	}
	e.now = e.now.Add(time.Minute)
	must.Succeed(t, e.Receive(t.Context(), e.hook.ID, signed(body, current), body))
	if w.touches != 2 {
		t.Errorf("updates of the webhook: got %d, want 2", w.touches)
	}
}

// A database that hangs after the commit does not delay the reply to a stored delivery.
func TestAHangingUpdateOfTheHookDoesNotDelayTheReply(t *testing.T) {
	e := newBusyEnv(t, &busyStore{hang: true})
	body := []byte(`{}`)
	began := time.Now()
	must.Succeed(t, e.Receive(t.Context(), e.hook.ID, signed(body, current), body))
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("duration of Receive: got %s, want about a second", took)
	}
	if n := len(e.stored(t)); n != 1 {
		t.Errorf("deliveries: got %d, want 1", n)
	}
}

// endingStore ends the request of the delivery, and returns an error of the database.
type endingStore struct {
	intake.Store
	end context.CancelFunc
}

func (s endingStore) Hook(context.Context, string) (autobuild.Hook, error) {
	s.end()
	return autobuild.Hook{}, errBusy
}

func TestTheErrorOfTheDatabaseIsKept(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	e := newEnv(t, autobuild.Cloud, func(o *intake.Options) { o.Store = endingStore{o.Store, cancel} })
	body := []byte(`{}`)
	if err := e.Receive(ctx, e.hook.ID, signed(body, current), body); !errors.Is(err, errBusy) {
		t.Errorf("error: got %v, want that of the database", err)
	}
}
