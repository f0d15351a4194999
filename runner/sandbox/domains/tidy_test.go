package domains

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	logrustest "github.com/sirupsen/logrus/hooks/test"

	"slipway/config/discard"
	"slipway/config/identity"
	"slipway/config/must"
	"slipway/runner/buildkit"
)

// newTidySupervisor returns a supervisor whose disk has enough space.
func newTidySupervisor(t *testing.T, change func(*Options)) (*Supervisor, *logrustest.Hook) {
	t.Helper()
	log, hook := logrustest.NewNullLogger()
	dir, err := os.MkdirTemp("", "domains-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	o := Options{
		Executable: "/proc/self/exe",
		Dir:        dir,
		Args:       []string{"--network", "none"},
		Environ:    []string{"PATH=" + os.Getenv("PATH")},
		CacheBytes: 10e9,
		DiskSpace:  func(string) (int64, int64, error) { return 100e9, 200e9, nil },
		Log:        log,
	}
	if change != nil {
		change(&o)
	}
	s := New(o)
	t.Cleanup(s.Close)
	return s, hook
}

// leaveState makes the directory of a domain, as an earlier supervisor left it.
func leaveState(t *testing.T, s *Supervisor, id string, bytes int64, unused time.Duration) (dir string) {
	t.Helper()
	dir = s.dirOf(id)
	if err := os.MkdirAll(filepath.Join(dir, stateDir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := writeRecord(dir, record{Domain: id, Bytes: bytes}); err != nil {
		t.Fatal(err)
	}
	touchRecord(dir, time.Now().Add(-unused))
	return dir
}

// waitGone waits until a path does not exist, and nothing that is being deleted is left.
func waitGone(t *testing.T, path string) {
	t.Helper()
	must.Eventually(t, path+" is deleted", func() bool {
		_, err := os.Lstat(path)
		left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), deletedPrefix+"*"))
		return errors.Is(err, os.ErrNotExist) && len(left) == 0
	})
}

// openOnly opens the directory of a supervisor whose builders do not start.
func openOnly(t *testing.T, s *Supervisor) {
	t.Helper()
	s.o.Executable = "/no/such/program"
	if _, err := s.Address(t.Context(), "any"); err == nil {
		t.Fatal("a builder started")
	}
}

func TestTheLeastRecentlyUsedCacheIsDeleted(t *testing.T) {
	s, hook := newTidySupervisor(t, nil)
	old := leaveState(t, s, "old", 6e9, 2*time.Hour)
	newer := leaveState(t, s, "new", 6e9, time.Hour)
	openOnly(t, s)
	waitGone(t, old)
	if _, err := os.Stat(newer); err != nil {
		t.Errorf("the newer cache: got %v, want it kept", err)
	}
	if text := logOf(hook); !strings.Contains(text, "the caches have 12 GB, and the limit is 10 GB") {
		t.Errorf("got log %s, want the reason in it", text)
	}
}

func TestCachesAreDeletedOnAFullDisk(t *testing.T) {
	s, hook := newTidySupervisor(t, func(o *Options) {
		o.DiskSpace = func(string) (int64, int64, error) { return 5e9, 200e9, nil }
	})
	old := leaveState(t, s, "old", 6e9, 2*time.Hour)
	openOnly(t, s)
	waitGone(t, old)
	if text := logOf(hook); !strings.Contains(text, "the disk has 5 GB of free space, and 10 GB should be free") {
		t.Errorf("got log %s, want the reason in it", text)
	}
}

// A supervisor that was killed while it deleted leaves a part. An older release left one cache for all.
func TestLeftoversAreDeleted(t *testing.T) {
	s, _ := newTidySupervisor(t, nil)
	var left []string
	for _, name := range []string{deletedPrefix + "x", "state", "runc-overlayfs"} {
		path := filepath.Join(s.o.Dir, name)
		if err := os.MkdirAll(filepath.Join(path, "work"), 0o700); err != nil {
			t.Fatal(err)
		}
		left = append(left, path)
	}
	foreign := filepath.Join(s.o.Dir, "foreign")
	if err := os.Mkdir(foreign, 0o700); err != nil {
		t.Fatal(err)
	}
	obsolete := filepath.Join(filepath.Dir(s.o.Dir), filepath.Base(s.o.Dir)+"-old")
	if err := os.MkdirAll(filepath.Join(obsolete, "work"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.o.Obsolete = []string{obsolete, obsolete + "-missing"}
	openOnly(t, s)
	if _, err := os.Stat(obsolete); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the state of an earlier release: got %v, want none", err)
	}
	for _, path := range left {
		waitGone(t, path)
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Errorf("an unknown directory: got %v, want it kept", err)
	}
}

func TestARunningBuilderStopsBeforeItsCacheIsDeleted(t *testing.T) {
	needRoot(t)
	s, hook := newTidySupervisor(t, nil)
	a := mustAddress(t, s, "a")
	mustAddress(t, s, "b")
	busy, err := buildkit.Dial(t.Context(), a, identity.Identity{})
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	s.mu.Lock()
	opened := s.domains["a"]
	s.mu.Unlock()
	must.Eventually(t, "a is busy", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return opened.child.busy })
	forceDrop(s, opened)
	if _, err := os.Stat(filepath.Join(opened.dir, stateDir)); err != nil {
		t.Errorf("the cache in use: got %v, want it kept", err)
	}

	_ = busy.Close()
	must.Eventually(t, "the cache is deleted", func() bool {
		forceDrop(s, opened)
		_, err := os.Stat(opened.dir)
		return errors.Is(err, os.ErrNotExist)
	})
	if text := logOf(hook); !strings.Contains(text, "the cache of a domain is deleted") {
		t.Errorf("got log %s, want the deletion in it", text)
	}
	again, err := buildkit.Dial(t.Context(), mustAddress(t, s, "a"), identity.Identity{})
	if err != nil {
		t.Fatal(err)
	}
	_ = again.Close()
}

// forceDrop deletes the cache of a domain if no client uses it, as if there were no space.
func forceDrop(s *Supervisor, d *domain) {
	s.dropState(drop{name: filepath.Base(d.dir), reason: "test"})
}

func TestABuilderReportsTheSizeOfItsCache(t *testing.T) {
	needRoot(t)
	s, _ := newTidySupervisor(t, nil)
	c, err := buildkit.Dial(t.Context(), mustAddress(t, s, "a"), identity.Identity{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	dir := t.TempDir()
	dockerfile := filepath.Join(dir, "Dockerfile")
	if err := os.WriteFile(dockerfile, []byte("FROM scratch\nCOPY file /\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), make([]byte, 3e6), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Build(t.Context(), buildkit.Request{Context: dir, Dockerfile: dockerfile}); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	must.Eventually(t, "the record has the size", func() bool { return readState(s.dirOf("a")).bytes >= 3e6 })
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: starting a real builder in this test needs root, which is absent")
	}
	if _, err := exec.LookPath("runc"); err != nil {
		t.Skip("SKIPPED: a builder needs runc, which is absent (Debian: apt-get install runc)")
	}
}

func mustAddress(t *testing.T, s *Supervisor, id string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a, err := s.Address(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// logOf returns the messages of a log with their fields.
func logOf(hook *logrustest.Hook) string {
	var text strings.Builder
	for _, e := range hook.AllEntries() {
		line, _ := (&logrus.TextFormatter{DisableQuote: true}).Format(e)
		text.Write(line)
	}
	return text.String()
}

// If the free space is unknown, no cache is deleted.
func TestDropForUnknownSpace(t *testing.T) {
	s := New(Options{
		Dir: t.TempDir(), Log: discard.Logger(),
		DiskSpace: func(string) (int64, int64, error) { return 0, 0, errors.New("unknown") },
	})
	defer s.Close()
	for _, id := range []string{"a", "b"} {
		d := must.Get[*domain](t)(openDomain(id, s.dirOf(id), 0))
		d.used = time.Now().Add(-time.Hour)
		s.domains[id] = d
		must.Succeed(t, os.MkdirAll(filepath.Join(d.dir, stateDir, "content"), 0o700))
	}
	if s.deleteForSpace(t.Context(), sizes{}, 1, "") {
		t.Error("got more room, want none")
	}
	if got := len(s.states()); got != 2 {
		t.Errorf("caches: got %d, want 2", got)
	}
}

// A builder that waits for space must not take all processor time while the only cache to delete belongs
// to a builder that is being started.
func TestDropForWaitsForAStart(t *testing.T) {
	s := New(Options{
		Dir: t.TempDir(), Log: discard.Logger(),
		DiskSpace: func(string) (int64, int64, error) { return 0, 1 << 30, nil },
	})
	defer s.Close()
	for id, used := range map[string]time.Time{"old": time.Now().Add(-time.Hour), "new": time.Now()} {
		d := must.Get[*domain](t)(openDomain(id, s.dirOf(id), 0))
		d.used = used
		s.domains[id] = d
		// The size of this directory is the space to free.
		must.Succeed(t, os.MkdirAll(filepath.Join(d.dir, stateDir, "content"), 0o700))
	}
	old := s.domains["old"]
	<-old.starting
	defer func() { old.starting <- struct{}{} }()
	began := time.Now()
	if !s.deleteForSpace(t.Context(), sizes{}, 1, "") {
		t.Error("got no room, want another try")
	}
	if took := time.Since(began); took < admitPoll {
		t.Errorf("time until the next try: got %s, want at least %s", took, admitPoll)
	}
	if _, err := os.Stat(old.dir); err != nil {
		t.Errorf("the directory of the starting builder: got %v, want it unchanged", err)
	}
}
