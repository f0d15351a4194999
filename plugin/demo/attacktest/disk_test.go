package attacktest

import (
	"strings"
	"syscall"
	"time"
)

// fillDisk: a RUN step takes 5 GB, and the disk of builds has 1 GB.
func fillDisk(e *env) string {
	i := e.enter(nil)
	lowest := e.watchFree()
	state, number := e.end(i.Project, e.push(i, map[string]string{"SIZE": "5000000000"}))
	before, after := lowest()
	log := e.log(number)
	if evidence := e.reached(log); evidence != "" {
		return evidence
	}
	const why = "the disk of the builder is full, limit 1 GB: SLIPWAY_BUILDER_DISK"
	if state != "FAILED" || !strings.Contains(log, why) {
		e.T.Fatalf("got status %s, want FAILED with %q in the log:\n%s", state, why, clip(log))
	}
	if taken := before - after; taken > 3e9 {
		e.T.Errorf("space of the machine's disk: got %d bytes taken, want about 1 GB", taken)
	}
	state, number = e.end(i.Project, e.push(i, map[string]string{"SIZE": "300000000"}))
	if state != "SUCCESSFUL" {
		e.T.Errorf("the next build: got status %s, want SUCCESSFUL:\n%s", state, clip(e.log(number)))
	}
	return ""
}

// watchFree samples the free space of the machine's disk until lowest is called, which returns the first and
// the smallest number of bytes.
func (e *env) watchFree() (lowest func() (first, smallest int64)) {
	dir := e.T.TempDir()
	free := func() int64 {
		var s syscall.Statfs_t
		e.Must(syscall.Statfs(dir, &s))
		return int64(s.Bavail) * s.Bsize
	}
	first := free()
	stop, result := make(chan struct{}), make(chan int64)
	go func() {
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		smallest := first
		for {
			select {
			case <-ticker.C:
				smallest = min(smallest, free())
			case <-stop:
				result <- smallest
				return
			}
		}
	}()
	return func() (int64, int64) {
		close(stop)
		return first, <-result
	}
}
