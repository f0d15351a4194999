package program

import (
	"path/filepath"
	"slices"
	"strings"
)

// SystemPath returns a search path with the directories of administration programs at its end. Ordinary
// users of Debian lack these directories, but builds without root need iptables, mkfs.ext4 and runc.
func SystemPath(path string) string {
	all := filepath.SplitList(path)
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if !slices.Contains(all, dir) {
			all = append(all, dir)
		}
	}
	return strings.Join(all, string(filepath.ListSeparator))
}
