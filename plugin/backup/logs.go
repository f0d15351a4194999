package backup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"slipway/plugin/store"
)

// addLogs adds the logs of all attempts.
func (w writer) addLogs(ctx context.Context, in Installation) error {
	if !in.Store.Postgres.IsZero() {
		return w.addStoredLogs(ctx, in.Store)
	}
	names, err := logsIn(in.Logs)
	if err != nil {
		return err
	}
	for _, name := range names {
		path := filepath.Join(in.Logs, strings.TrimPrefix(name, "logs/"))
		// The number of the gateway's bytes is read after the bytes. If it grows in between, a runner sends some bytes
		// again; in the other order bytes would be lost.
		for _, suffix := range []string{"", ".own"} {
			err := w.addFile(ctx, name+suffix, path+suffix)
			if err != nil && !errors.Is(err, fs.ErrNotExist) { // it was removed with its build, or has no such bytes
				return err
			}
		}
	}
	return nil
}

// logsIn lists the logs in a directory by their names in a backup. A directory that cannot be read is an error: the
// backup would lack its logs.
func logsIn(dir string) ([]string, error) {
	builds, err := readDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, build := range builds {
		if !build.IsDir() {
			continue
		}
		files, err := readDir(filepath.Join(dir, build.Name()))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			name := "logs/" + build.Name() + "/" + file.Name()
			if filepath.Ext(name) == ".log" && checkName(name) == nil { // the gateway reads no other files either
				names = append(names, name)
			}
		}
	}
	return names, nil
}

// readDir lists a directory. One that does not exist is empty: no build has run, or it was removed meanwhile.
func readDir(dir string) ([]fs.DirEntry, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return entries, err
}

// addStoredLogs adds the logs that the database stores.
func (w writer) addStoredLogs(ctx context.Context, o store.Options) error {
	s, err := store.OpenLogs(o)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // it was only read
	ends, err := s.LogEnds(ctx)
	if err != nil {
		return err
	}
	for _, end := range ends {
		size, err := s.LogSize(ctx, end.BuildID, end.Attempt)
		if err != nil {
			return err
		}
		if size < end.Size { // it was removed with its build
			continue
		}
		name := logName(end.BuildID, end.Attempt)
		log := bufio.NewReaderSize(&storedLog{ctx: ctx, store: s, end: end}, storedLogBuffer)
		if err := w.add(ctx, name, end.Size, log); err != nil {
			return err
		}
		if end.Own > 0 {
			own := strconv.FormatInt(end.Own, 10)
			if err := w.add(ctx, name+".own", int64(len(own)), strings.NewReader(own)); err != nil {
				return err
			}
		}
	}
	return nil
}

// storedLogBuffer is the size of a read from the database, in bytes.
const storedLogBuffer = 1 << 20

// errLogRemoved means that a log was removed with its build while the backup was written.
var errLogRemoved = errors.New("the log was removed meanwhile: run the backup again")

// A storedLog reads the log of one attempt from the database.
type storedLog struct {
	ctx    context.Context
	store  *store.Store
	end    store.LogEnd
	offset int64
}

func (l *storedLog) Read(p []byte) (int, error) {
	data, err := l.store.ReadLog(l.ctx, l.end.BuildID, l.end.Attempt, l.offset, len(p))
	if err == nil && len(data) == 0 {
		err = errLogRemoved
	}
	l.offset += int64(len(data))
	return copy(p, data), err
}

// extractedLogs yields the logs in an extracted backup. An error of the directory ends it: the parts were checked
// before.
func extractedLogs(dir string, m Manifest) iter.Seq[store.LogFile] {
	pattern := regexp.MustCompile(logPattern)
	return func(yield func(store.LogFile) bool) {
		for _, part := range m.Parts {
			match := pattern.FindStringSubmatch(part.Name)
			if match == nil || match[3] != "" {
				continue
			}
			log := store.LogFile{BuildID: match[1], Path: filepath.Join(dir, part.Name)}
			log.Attempt, _ = strconv.Atoi(match[2]) // the pattern has digits only
			if text, err := os.ReadFile(log.Path + ".own"); err == nil {
				log.Own, _ = strconv.ParseInt(
					strings.TrimSpace(string(text)),
					10,
					64,
				) // 0: the runner sends bytes again
			}
			if !yield(log) {
				return
			}
		}
	}
}

// logDirectories makes the directories of the logs of a backup.
func logDirectories(dir, name string) error {
	if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
		return fmt.Errorf("make the directory of %s: %w", name, err)
	}
	return nil
}
