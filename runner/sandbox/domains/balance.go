package domains

import (
	"runtime"

	"slipway/runner/sandbox/domains/link"
)

// stepsOf returns the number of steps of all builders together; configured = 0 means twice the
// processors.
func stepsOf(configured int) int {
	if configured > 0 {
		return configured
	}
	return 2 * runtime.NumCPU()
}

// shareSteps returns the number of steps that one builder may run at once. total is the number for all
// builders together. busy is the number of busy builders, and isBusy reports whether this one is busy.
// An idle builder gets its share as if it were busy.
func shareSteps(total, busy int, isBusy bool) int {
	if !isBusy {
		busy++
	}
	return max(1, total/busy)
}

// balance sends each builder its share of the steps whenever the loads change, until Close.
func (s *Supervisor) balance() {
	total := stepsOf(s.o.Parallel)
	for {
		s.mu.Lock()
		changed := s.changed
		shares := map[*child]int{}
		busy := 0
		for _, d := range s.domains {
			if d.child != nil && d.child.busy {
				busy++
			}
		}
		for _, d := range s.domains {
			if c := d.child; c != nil {
				shares[c] = shareSteps(total, busy, c.busy)
			}
		}
		s.mu.Unlock()
		for c, steps := range shares {
			c.sendParallel(steps)
		}
		select {
		case <-changed:
		case <-s.ctx.Done():
			return
		}
	}
}

// sendParallel sends the child its share, unless it has it. Only balance calls it.
func (c *child) sendParallel(steps int) {
	if c.steps == steps {
		return
	}
	if link.SendParallel(c, steps) == nil {
		c.steps = steps
	}
}
