package restart

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"slipway/config/discard"
)

func TestParseRejectsWhatIsNoDescriptor(t *testing.T) {
	for _, text := range []string{"public", "public=", "public=x", "public=-1", "public=2", ","} {
		_, err := parse(text)
		if err == nil || !strings.Contains(err.Error(), variable) {
			t.Errorf("parse %q: got error %v, want one with %s", text, err, variable)
		}
	}
	files, err := parse("")
	if err != nil || len(files) != 0 {
		t.Errorf("parse nothing: got %v, error %v, want neither", files, err)
	}
}

// A listener stays open for the next program after this one has closed its own.
func TestListenUsesAnInheritedListener(t *testing.T) {
	first, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	file, err := first.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	s := &State{inherited: map[string]*os.File{Public: file, "build-b1-2": nil}, kept: map[string]*os.File{}}
	l, err := s.Listen(t.Context(), Public, "not used")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got, want := l.Addr().String(), first.Addr().String(); got != want {
		t.Errorf("address: got %s, want %s", got, want)
	}
	if s.kept[Public] == nil {
		t.Error("listener for the next program: got none, want one")
	}
	if taken := s.Take("build-"); len(taken) != 1 {
		t.Errorf("builds: got %v, want one", taken)
	}
	if taken := s.Take("build-"); len(taken) != 0 {
		t.Errorf("builds at the second call: got %v, want none", taken)
	}
}

func TestTheNextProgramIsALinkItself(t *testing.T) {
	link := filepath.Join(t.TempDir(), "slipway")
	if err := os.Symlink("/bin/sh", link); err != nil {
		t.Fatal(err)
	}
	if got := nextProgram(link); got != link {
		t.Errorf("next program: got %s, want %s", got, link)
	}
	if got := nextProgram(link + "-absent"); got != self {
		t.Errorf("next program without a file: got %s, want %s", got, self)
	}
}

// A program that leaves a child behind, with the output of the check, does not block the check.
func TestTheCheckDoesNotWaitForAChild(t *testing.T) {
	script := filepath.Join(t.TempDir(), "slipway")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nsleep 20 &\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := &State{path: script, args: []string{"slipway", "gateway"}}
	began := time.Now()
	err := s.check(t.Context())
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("check: got it after %s, want it after about %s", took, outputDelay)
	}
	if err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("check: got error %v, want the exit status", err)
	}
}

// The output of the new program cannot fill the memory of this one.
func TestTheCheckKeepsOnlyTheEndOfTheOutput(t *testing.T) {
	script := filepath.Join(t.TempDir(), "slipway")
	body := "#!/bin/sh\nhead -c 64M /dev/zero | tr '\\0' '\\n'\necho the reason\nexit 3\n"
	if err := os.WriteFile(script, []byte(body), 0o700); err != nil {
		t.Fatal(err)
	}
	s := &State{path: script, args: []string{"slipway", "gateway"}}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := s.check(t.Context())
	runtime.ReadMemStats(&after)
	if err == nil || !strings.HasSuffix(err.Error(), "exit status 3: the reason") {
		t.Errorf("check: got error %v, want the end of the output", err)
	}
	// 64 MiB in one buffer need at least 128 MiB while it grows. Here they pass through one of 2 KB again and again.
	if kept := int64(after.HeapSys) - int64(before.HeapSys); kept > 32<<20 {
		t.Errorf("memory: got %d MiB more, want less than 32", kept>>20)
	}
}

// A second upgrade may be requested before the program of the first one has started.
func TestARequestDuringTheStartIsKept(t *testing.T) {
	s, err := Inherit()
	if err != nil {
		t.Fatal(err)
	}
	s.path = "/bin/true"
	if err := syscall.Kill(os.Getpid(), syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	for len(s.signals) == 0 {
		runtime.Gosched()
	}
	work, stop := s.Watch(t.Context(), discard.Logger())
	defer stop()
	select {
	case <-work.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("restart: got none, want the requested one")
	}
	if cause := context.Cause(work); !errors.Is(cause, ErrRequested) {
		t.Errorf("cause: got %v, want %v", cause, ErrRequested)
	}
}
