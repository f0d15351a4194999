package attacktest

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// fillDisk: a RUN step takes 5 GB, and the disk of builds has 1 GB.
func fillDisk(e *env) string {
	i := e.enter(nil)
	most := e.watchDisks()
	state, number := e.end(i.Project, e.push(i, map[string]string{"SIZE": "5000000000"}))
	taken := most()
	log := e.log(number)
	if evidence := e.reached(log); evidence != "" {
		return evidence
	}
	const why = "the disk of the builder is full, limit 1 GB: SLIPWAY_BUILDER_DISK"
	if state != "FAILED" || !strings.Contains(log, why) {
		e.T.Fatalf("got status %s, want FAILED with %q in the log:\n%s", state, why, clip(log))
	}
	if taken != 1e9 {
		e.T.Errorf("largest disk of a build: got %d bytes, want 1 GB", taken)
	}
	state, number = e.end(i.Project, e.push(i, map[string]string{"SIZE": "300000000"}))
	if state != "SUCCESSFUL" {
		e.T.Errorf("the next build: got status %s, want SUCCESSFUL:\n%s", state, clip(e.log(number)))
	}
	return ""
}

// watchDisks samples the sizes of the disks in the gateway's directory until most is called, which returns the
// largest size in bytes. Free space of the machine tells less: other tests take and free much of it.
func (e *env) watchDisks() (most func() int64) {
	stop, result := make(chan struct{}), make(chan int64)
	go func() {
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		var largest int64
		for {
			select {
			case <-ticker.C:
				largest = max(largest, largestBelow(e.Gateway.Data))
			case <-stop:
				result <- largest
				return
			}
		}
	}()
	return func() int64 {
		close(stop)
		return <-result
	}
}

// largestBelow returns the bytes of the largest loop device whose file is in a directory, or was in it.
func largestBelow(dir string) (largest int64) {
	const sector = 512
	files, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, name := range files {
		file, err := os.ReadFile(name)
		if err != nil || !strings.HasPrefix(string(file), dir+"/") {
			continue // the device has ended, or belongs to others
		}
		text, _ := os.ReadFile(filepath.Join(name, "../../size"))
		sectors, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		largest = max(largest, sectors*sector)
	}
	return largest
}
