package container

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// coreLimit returns the limit of core files in a sandbox.
func coreLimit() uint64 {
	var own unix.Rlimit
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil || unix.Getrlimit(unix.RLIMIT_CORE, &own) != nil {
		return 1
	}
	return decideCoreLimit(string(pattern), own.Max, func() error {
		return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Max: 1})
	})
}

// decideCoreLimit returns 1, because with 0 the kernel still pipes crashes to the machine's handler. A
// program under sudo may have a hard limit of 0, and needs CAP_SYS_RESOURCE to raise it. If it cannot, 0
// is enough on a machine without a handler.
// https://man7.org/linux/man-pages/man5/core.5.html
func decideCoreLimit(pattern string, hard uint64, raise func() error) uint64 {
	if hard == 0 && !strings.HasPrefix(pattern, "|") && raise() != nil {
		return 0
	}
	return 1
}
