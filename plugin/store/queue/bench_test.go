package queue_test

import (
	"context"
	"fmt"
	"testing"

	"slipway/plugin/store/queue"
)

// BenchmarkBacklog runs 2000 tasks with four workers: in one lane, in a hundred lanes, and without
// lanes.
func BenchmarkBacklog(b *testing.B) {
	for _, lanes := range []int{1, 100, 0} {
		b.Run(fmt.Sprintf("lanes=%d", lanes), func(b *testing.B) {
			const n = 2000
			for b.Loop() {
				db := open(b)
				q := queue.New(queue.Config{DB: db})
				done := make(chan struct{}, n)
				q.Handle("k", func(context.Context, queue.Task) error { done <- struct{}{}; return nil },
					queue.Options{Workers: 4})
				var tasks []queue.NewTask
				for i := range n {
					task := queue.NewTask{Kind: "k", Arg: fmt.Sprint(i)}
					if lanes > 0 {
						task.Lane = fmt.Sprint("lane", i%lanes)
					}
					tasks = append(tasks, task)
				}
				enqueue(b, db, q, tasks...)
				stop := start(b, q)
				for range n {
					<-done
				}
				stop()
			}
			b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
		})
	}
}
