package domains

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// recordFile describes a domain in its directory. The file's time is that of the last request for the
// builder.
const recordFile = "domain.json"

// A record is the content of a recordFile.
type record struct {
	Domain string `json:"domain"` // id of the domain; only people read it
	Bytes  int64  `json:"bytes"`  // size of the cache
}

// domainDir matches the names of domains' directories.
var domainDir = regexp.MustCompile(`^[0-9a-f]{32}$`)

// writeRecord stores the record of a domain. On a full disk, it leaves the old one.
func writeRecord(dir string, r record) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, recordFile)
	err = os.WriteFile(path+".new", text, 0o600)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		_ = os.Remove(path + ".new") // the first error is the one to report
	}
	return err
}

// readState returns the state of a directory that an earlier supervisor left. Without a record, its size
// counts as 0 until its builder reports it.
func readState(dir string) cacheState {
	state := cacheState{name: filepath.Base(dir)}
	path := filepath.Join(dir, recordFile)
	info, err := os.Stat(path)
	if err != nil {
		info, err = os.Stat(dir)
	}
	if err == nil {
		state.used = info.ModTime()
	}
	var r record
	text, err := os.ReadFile(path)
	if err == nil && json.Unmarshal(text, &r) == nil {
		state.bytes = max(r.Bytes, 0)
	}
	return state
}

// touchRecord stores the time of a request for the builder.
func touchRecord(dir string, now time.Time) {
	_ = os.Chtimes(filepath.Join(dir, recordFile), now, now) // only the order of deletion depends on it
}
