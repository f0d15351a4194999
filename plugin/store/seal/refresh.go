package seal

import (
	"fmt"
	"os"
)

// A stamp identifies one content of a key file. Each content has a file of its own, because a
// change replaces the file.
type stamp struct {
	info os.FileInfo // nil = not read yet
}

func (s stamp) same(other os.FileInfo) bool {
	return s.info != nil && os.SameFile(s.info, other) && s.info.ModTime().Equal(other.ModTime()) &&
		s.info.Size() == other.Size()
}

// Refresh reads the key file again if it has changed. changed is true at the first call, and
// whenever the keys differ from those of the last call. A key that was removed from the file still
// opens values for some seconds.
//
// required is the id of the key that seals new values. If the file no longer contains it, Refresh
// returns an error and keeps the keys that it has.
func (s *Sealer) Refresh(required byte) (changed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.path != "" {
		err = s.reload()
	}
	if _, ok := s.keys[required]; err == nil && (!ok || !s.removed[required].IsZero()) {
		err = fmt.Errorf("key file %s: key %d is missing, which seals the secrets of the database: "+
			"copy the key file of the gateway that made it", s.path, required)
	}
	if err != nil {
		return false, err
	}
	for id, at := range s.removed {
		if s.now().Sub(at) >= removedKept {
			delete(s.keys, id)
			delete(s.removed, id)
		}
	}
	changed = !s.announced
	s.announced = true
	return changed, nil
}

// reload reads the file if it has changed. It keeps removed keys, until Refresh deletes them. The
// caller holds the lock.
func (s *Sealer) reload() error {
	if s.path == "" {
		return nil
	}
	info, err := os.Stat(s.path)
	if err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	if s.loaded.same(info) {
		return nil
	}
	next, err := load(s.path)
	if err != nil {
		return err
	}
	s.loaded, s.newest, s.announced = next.loaded, next.newest, false
	for id := range s.keys {
		if _, kept := next.keys[id]; kept {
			delete(s.removed, id)
			continue
		}
		next.keys[id] = s.keys[id]
		if s.removed[id].IsZero() {
			s.removed[id] = s.now()
		}
	}
	s.keys = next.keys
	return nil
}
