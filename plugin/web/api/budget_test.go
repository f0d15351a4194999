package api_test

import (
	"net/http"
	"sync"
	"testing"
)

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
