package store_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/store/storetest"
)

// Concurrent senders store pushes of 5 KB, durably (synchronous=FULL). They share commits.
func BenchmarkReceiveDelivery(b *testing.B) {
	body := make([]byte, 0, 5<<10)
	random := rand.New(rand.NewPCG(1, 2))
	for len(body) < 5<<10 {
		body = fmt.Appendf(body, `{"name":"branch-%d","hash":"%x"},`, random.Int(), random.Uint64())
	}
	for _, senders := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("senders=%d", senders), func(b *testing.B) {
			s := storetest.Open(b)
			work := make(chan struct{})
			done := make(chan struct{})
			for range senders {
				go func() {
					for range work {
						_, err := s.ReceiveDelivery(b.Context(),
							autobuild.Delivery{HookID: "h", Event: "repo:push", Body: body})
						if err != nil {
							b.Error(err)
						}
					}
					done <- struct{}{}
				}()
			}
			b.ResetTimer()
			for range b.N {
				work <- struct{}{}
			}
			close(work)
			for range senders {
				<-done
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
		})
	}
}

// The query of a metrics scrape, with this number of queued builds and deliveries.
func BenchmarkOverview(b *testing.B) {
	for _, waiting := range []int{10, 5000} {
		b.Run(fmt.Sprintf("waiting=%d", waiting), func(b *testing.B) {
			s := storetest.Open(b)
			a := storetest.AutomatedBuild(b, s, storetest.Repository("app"))
			plan := autobuild.Plan{State: autobuild.DeliveryPlanned}
			for i := range waiting {
				ref := autobuild.Ref{Kind: autobuild.Branch, Name: fmt.Sprint("topic/", i)}
				plan.Moves = append(plan.Moves, storetest.Push(a, ref, "", storetest.Commit(i)).Moves...)
			}
			if _, err := s.Plan(b.Context(), plan); err != nil {
				b.Fatal(err)
			}
			for range min(waiting, 500) {
				if _, err := s.ReceiveDelivery(b.Context(),
					autobuild.Delivery{HookID: "h", Event: "repo:push", Body: []byte("{}")}); err != nil {
					b.Fatal(err)
				}
			}
			b.ResetTimer()
			for range b.N {
				if _, err := s.Overview(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
