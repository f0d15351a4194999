package cgroup

import (
	"os"
	"path"
	"path/filepath"
	"strings"
)

// unlimited is the least number that version 1 reports for no limit, in bytes.
const unlimited = 1 << 60

// OwnMemory returns the limit of memory of this process, for example that of its container, in bytes. It
// returns 0 if there is none, or if it is unknown. It needs no Tree, and changes nothing.
func OwnMemory() int64 { return ownMemory("/sys/fs/cgroup", "/proc/self/cgroup") }

// ownMemory returns the smallest limit from the group of a process up to the root of the hierarchy. root is
// the mount of the cgroups, and self is a file in the form of /proc/self/cgroup. A container has its own
// group at the root.
func ownMemory(root, self string) (limit int64) {
	text, err := os.ReadFile(self)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		dir, file := root, "memory.max"
		switch {
		case fields[1] == "memory":
			dir, file = filepath.Join(root, "memory"), "memory.limit_in_bytes"
		case fields[0] != "0":
			continue
		}
		for at := path.Clean("/" + fields[2]); ; at = path.Dir(at) {
			n := readNumber(filepath.Join(dir, at, file))
			if n > 0 && n < unlimited && (limit == 0 || n < limit) {
				limit = n
			}
			if at == "/" {
				break
			}
		}
	}
	return limit
}
