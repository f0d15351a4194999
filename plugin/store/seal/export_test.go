package seal

import "time"

// SetClock replaces the clock.
func (s *Sealer) SetClock(now func() time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = now
}
