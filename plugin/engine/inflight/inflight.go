// Package inflight counts calls that are running.
package inflight

import "sync"

// A Counter counts running calls by key. The zero value is ready to use. It is safe for concurrent use.
type Counter struct {
	mu    sync.Mutex
	calls map[string]int
}

// Begin records that a call for a key starts. The caller calls end once, when the call returns.
func (c *Counter) Begin(key string) (end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls == nil {
		c.calls = map[string]int{}
	}
	c.calls[key]++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.calls[key]--
		if c.calls[key] == 0 {
			delete(c.calls, key)
		}
	}
}

// Running reports whether a call for the key has begun and not ended.
func (c *Counter) Running(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls[key] > 0
}
