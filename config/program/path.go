package program

import (
	"path/filepath"
	"slices"
	"strings"
)

// SystemPath returns a search path with the directories of administration programs at its end: sbin beside
// each bin. Ordinary users of Debian lack these directories, but builds without root need iptables,
// mkfs.ext4 and runc.
func SystemPath(path string) string {
	all := filepath.SplitList(path)
	for _, dir := range filepath.SplitList(path) {
		if filepath.Base(dir) != "bin" {
			continue
		}
		if sbin := filepath.Join(filepath.Dir(dir), "sbin"); !slices.Contains(all, sbin) {
			all = append(all, sbin)
		}
	}
	return strings.Join(all, string(filepath.ListSeparator))
}
