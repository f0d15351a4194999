// Package backup writes the state of an installation to one file, and restores it.
//
// A backup is a tar file, compressed with zstd. It starts with an entry that names the format, and ends with the
// manifest. So a file that was cut off has no manifest. The database is a SQLite file, also if the installation uses
// PostgreSQL, and logs are files. So a backup of one database restores to the other one.
package backup

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
	"time"
)

const (
	// formatVersion changes if an older program cannot read a backup any more.
	formatVersion = 1

	formatName   = "slipway-backup" // first entry: the version of the format
	databaseName = "slipway.db"
	keyName      = "secret.key"
	manifestName = "manifest.json" // last entry
)

// A Manifest describes a backup.
type Manifest struct {
	Format   int              `json:"format"`
	Version  string           `json:"version"`  // of Slipway
	Schema   int64            `json:"schema"`   // of the database
	Instance string           `json:"instance"` // id of the installation
	URL      string           `json:"url"`      // of the gateway
	Created  time.Time        `json:"created"`  // what was stored before is in the backup
	Rows     map[string]int64 `json:"rows"`     // by table
	Parts    []Part           `json:"parts"`    // in the order of the file
}

// A Part is one file of a backup.
type Part struct {
	Name   string `json:"name"` // e.g. "slipway.db" or "logs/<build>/1.log"
	Size   int64  `json:"size"` // in bytes
	SHA256 string `json:"sha256"`
}

// HasKey reports whether the backup contains the key file.
func (m Manifest) HasKey() bool {
	for _, p := range m.Parts {
		if p.Name == keyName {
			return true
		}
	}
	return false
}

// Logs returns the number of logs of attempts.
func (m Manifest) Logs() int {
	n := 0
	for _, p := range m.Parts {
		if path.Ext(p.Name) == ".log" {
			n++
		}
	}
	return n
}

// logPattern matches the names of logs, as package logs stores them.
const logPattern = `^logs/([0-9A-Za-z_-]{1,64})/([0-9]{1,9})\.log(\.own)?$`

// checkName returns an error for a name that no backup has. Names become paths.
func checkName(name string) error {
	switch name {
	case formatName, databaseName, keyName, manifestName:
		return nil
	}
	if regexp.MustCompile(logPattern).MatchString(name) {
		return nil
	}
	return fmt.Errorf("it contains %.100q, which no backup does", name)
}

// logName returns the name of the log of an attempt.
func logName(buildID string, attempt int) string {
	return "logs/" + buildID + "/" + strconv.Itoa(attempt) + ".log"
}
