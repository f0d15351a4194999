package api_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// I4: the first delivery of a gateway can be one that is rejected before its body is read.
func TestI4ADeliveryOverTheLimitCanBeTheFirst(t *testing.T) {
	e := newEnv(t)
	for i := range 2 {
		if w := e.post("/hooks/bitbucket/h1", make([]byte, 11<<20), ""); w.Code != http.StatusRequestEntityTooLarge {
			t.Errorf("delivery %d: got status %d, want 413", i+1, w.Code)
		}
	}
}

// I4: large concurrent deliveries, which anybody can send, cannot fill the memory. Deliveries over the
// limit are rejected with 503. Small ones and later ones are accepted.
func TestI4ConcurrentDeliveriesShareALimit(t *testing.T) {
	e := newEnv(t)
	const large = 9 << 20
	received, leave := make(chan struct{}, 64), make(chan struct{})
	e.intake = func(string, []byte) error {
		received <- struct{}{}
		<-leave
		return nil
	}
	var senders sync.WaitGroup
	for range 5 {
		senders.Go(func() {
			if w := e.post("/hooks/bitbucket/h1", make([]byte, large), ""); w.Code != http.StatusAccepted {
				t.Errorf("a delivery within the budget: got Code %v, want %v", w.Code, http.StatusAccepted)
			}
		})
		<-received
	}
	if w := e.post("/hooks/bitbucket/h1", make([]byte, large), ""); w.Code != http.StatusServiceUnavailable {
		t.Errorf("delivery beyond the budget: got status %d, want 503", w.Code)
	}
	senders.Go(func() {
		if w := e.post("/hooks/bitbucket/h1", make([]byte, 256<<10), ""); w.Code != http.StatusAccepted {
			t.Errorf("a small delivery among them: got Code %v, want %v", w.Code, http.StatusAccepted)
		}
	})
	<-received
	close(leave)
	senders.Wait()
	for range 6 { // rejected deliveries return exactly their bytes
		if w := e.post("/hooks/bitbucket/h1", make([]byte, large), ""); w.Code != http.StatusAccepted {
			t.Fatalf("a delivery after the others: got Code %v, want %v", w.Code, http.StatusAccepted)
		}
	}
}

// I4: anybody can send deliveries to unknown webhooks. However many these are, a delivery to an existing webhook has
// its own bytes.
func TestI4DeliveriesToUnknownWebhooksTakeNoBytesOfOthers(t *testing.T) {
	e := newEnv(t)
	received, leave := make(chan struct{}), make(chan struct{})
	e.intake = func(hookID string, _ []byte) error {
		if hookID == "h1" {
			return nil
		}
		received <- struct{}{}
		<-leave
		return nil
	}
	const senders = 70
	responses := make(chan *httptest.ResponseRecorder, senders)
	for i := range senders {
		go func() {
			responses <- e.post(fmt.Sprintf("/hooks/bitbucket/unknown%d", i), make([]byte, 256<<10), "")
		}()
	}
	refused := 0
	for range senders { // each is refused, or holds its bytes
		select {
		case w := <-responses:
			refused++
			if w.Code != http.StatusServiceUnavailable {
				t.Errorf("delivery beyond the budget: got status %d, want 503", w.Code)
			}
		case <-received:
		}
	}
	if w := e.post("/hooks/bitbucket/h1", make([]byte, 256<<10), ""); w.Code != http.StatusAccepted {
		t.Errorf("delivery to an existing webhook: got status %d, want 202", w.Code)
	}
	close(leave)
	for range senders - refused {
		if w := <-responses; w.Code != http.StatusAccepted {
			t.Errorf("delivery within the budget: got status %d, want 202", w.Code)
		}
	}
	if refused == 0 {
		t.Error("deliveries to unknown webhooks: got none refused, want some")
	}
}
