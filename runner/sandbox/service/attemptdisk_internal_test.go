package service

import (
	"testing"

	"slipway/runner/sandbox/disk"
)

func TestADiskIsFull(t *testing.T) {
	for name, c := range map[string]struct {
		use  disk.Usage
		want string
	}{
		"has room":        {disk.Usage{Bytes: 10e9, FreeBytes: 5e9, FreeInodes: 7}, ""},
		"has little room": {disk.Usage{Bytes: 10e9, FreeBytes: 100e6, FreeInodes: 7}, ""},
		"has almost no room": {
			disk.Usage{Bytes: 10e9, FreeBytes: 99e6, FreeInodes: 7},
			"the disk of the build is full, limit 11 GB: SLIPWAY_BUILD_DISK",
		},
		"has no further file": {
			disk.Usage{Bytes: 10e9, FreeBytes: 5e9},
			"the disk of the build is full: it has no room for another file: SLIPWAY_BUILD_DISK",
		},
	} {
		if got := whyFull(c.use, 11e9); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
