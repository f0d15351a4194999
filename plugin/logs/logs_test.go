package logs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/logs"
	"slipway/plugin/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.RunBesidePostgres(m)) }

// An openFunc opens the same logs again with a size limit.
type openFunc func(maxSize int64) *logs.Logs

// onEachBackend runs a test with files, SQLite and PostgreSQL.
func onEachBackend(t *testing.T, test func(t *testing.T, open openFunc)) {
	t.Helper()
	for name, optionsOf := range map[string]func(t *testing.T) logs.Options{
		"files":      func(t *testing.T) logs.Options { return logs.Options{Dir: filepath.Join(t.TempDir(), "logs")} },
		"SQLite":     func(t *testing.T) logs.Options { return logs.Options{Store: storetest.Open(t)} },
		"PostgreSQL": func(t *testing.T) logs.Options { return logs.Options{Store: storetest.OpenPostgres(t)} },
	} {
		t.Run(name, func(t *testing.T) {
			o := optionsOf(t)
			test(t, func(maxSize int64) *logs.Logs {
				o.MaxSize = maxSize
				return logs.New(o)
			})
		})
	}
}

func content(t testing.TB, l *logs.Logs, build string) string {
	t.Helper()
	data, err := l.Read(t.Context(), build, 1, 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func appendAt(t testing.TB, l *logs.Logs, build string, offset int64, data string) int64 {
	t.Helper()
	size, err := l.Append(t.Context(), build, 1, offset, []byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return size
}

func TestAppendSkipsStoredBytes(t *testing.T) { onEachBackend(t, appendSkipsStoredBytes) }

func appendSkipsStoredBytes(t *testing.T, open openFunc) {
	l := open(0)
	for _, c := range []struct {
		offset int64
		data   string
		size   int64
	}{{0, "hello ", 6}, {6, "world", 11}, {6, "world", 11}, {0, "hello world!", 12}, {3, "lo", 12}, {12, "", 12}} {
		if size := appendAt(t, l, "b", c.offset, c.data); size != c.size {
			t.Errorf("size after %q at %d: got %d, want %d", c.data, c.offset, size, c.size)
		}
	}
	if got := content(t, l, "b"); got != "hello world!" {
		t.Errorf("log: got %q, want %q", got, "hello world!")
	}
	size, err := l.Append(t.Context(), "b", 1, 13, []byte("x"))
	if !errors.Is(err, logs.ErrGap) {
		t.Errorf("append beyond the end: got %v, want ErrGap", err)
	}
	if size != 12 {
		t.Errorf("size after the append beyond the end: got %d, want 12", size)
	}
	if _, err := l.Append(t.Context(), "b", 1, -1, []byte("x")); !errors.Is(err, logs.ErrGap) {
		t.Errorf("append before the start: got %v, want ErrGap", err)
	}
}

func TestOnlyTheGatewaysUserReadsALog(t *testing.T) {
	dir := t.TempDir()
	appendAt(t, logs.New(logs.Options{Dir: dir}), "b", 0, "x")
	info, err := os.Stat(filepath.Join(dir, "b", "1.log"))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("permissions of the log: got %o, want 600", got)
	}
}

func TestReadFromAnOffset(t *testing.T) { onEachBackend(t, readFromAnOffset) }

func readFromAnOffset(t *testing.T, open openFunc) {
	l := open(0)
	if got := content(t, l, "b"); got != "" {
		t.Errorf("log before the first line: got %q, want none", got)
	}
	appendAt(t, l, "b", 0, "hello world")
	for _, c := range []struct {
		offset int64
		max    int
		want   string
	}{{0, 5, "hello"}, {6, 100, "world"}, {11, 5, ""}, {99, 5, ""}} {
		data, err := l.Read(t.Context(), "b", 1, c.offset, c.max)
		if err != nil {
			t.Errorf("read at %d: %v", c.offset, err)
		}
		if string(data) != c.want {
			t.Errorf("read at %d: got %q, want %q", c.offset, data, c.want)
		}
	}
}

func TestNamesCannotLeaveTheDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	l := logs.New(logs.Options{Dir: dir})
	for _, build := range []string{"", "..", "../x", "a/b", "a\x00b", ".", strings.Repeat("a", 65)} {
		if _, err := l.Append(t.Context(), build, 1, 0, []byte("x")); !errors.Is(err, autobuild.ErrNotFound) {
			t.Errorf("append to %q: got %v, want ErrNotFound", build, err)
		}
		if _, err := l.Read(t.Context(), build, 1, 0, 10); !errors.Is(err, autobuild.ErrNotFound) {
			t.Errorf("read %q: got %v, want ErrNotFound", build, err)
		}
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("directory of the logs: got %v, want that it does not exist", err)
	}
}

func TestS5SecretsNeverReachTheDisk(t *testing.T) { onEachBackend(t, secretsNeverReachTheDisk) }

func secretsNeverReachTheDisk(t *testing.T, open openFunc) {
	l := open(0)
	l.SetSecrets("b", 1, []secret.Secret{secret.New("hunter22")})
	appendAt(t, l, "b", 0, "the password is hunter22, in base64 aHVudGVyMjI=\n")
	if err := l.Line(t.Context(), "b", 1, "it was hunter22"); err != nil {
		t.Fatal(err)
	}
	want := "the password is ********, in base64 ************\nit was ********\n"
	if got := content(t, l, "b"); got != want {
		t.Errorf("log: got %q, want %q", got, want)
	}
	l.Close("b", 1)
	appendAt(t, l, "other", 0, "hunter22 is not a secret here")
	if got := content(t, l, "other"); !strings.Contains(got, "hunter22") {
		t.Errorf("log of another build: got %q, want it unmasked", got)
	}
}

func TestLinesOfTheGatewayDoNotShiftTheRunner(t *testing.T) {
	onEachBackend(t, linesOfTheGatewayDoNotShiftTheRunner)
}

func linesOfTheGatewayDoNotShiftTheRunner(t *testing.T, open openFunc) {
	l := open(0)
	line := func(l *logs.Logs, text string) {
		t.Helper()
		if err := l.Line(t.Context(), "b", 1, text); err != nil {
			t.Fatal(err)
		}
	}
	line(l, "waiting for\nthe engine")
	if size := appendAt(t, l, "b", 0, "step 1"); size != 6 {
		t.Errorf("size: got %d, want 6", size)
	}
	line(l, "still there?")
	again := open(0) // like after a restart
	if size := appendAt(t, again, "b", 0, "step 1\nstep 2\n"); size != 14 {
		t.Errorf("size: got %d, want 14", size)
	}
	line(again, "bye")
	if got, want := content(t, l, "b"), "waiting for the engine\nstep 1\nstill there?\n\nstep 2\nbye\n"; got != want {
		t.Errorf("content: got %q, want %q", got, want)
	}
}

func TestTheSizeOfALogIsLimited(t *testing.T) { onEachBackend(t, theSizeOfALogIsLimited) }

func theSizeOfALogIsLimited(t *testing.T, open openFunc) {
	l := open(10)
	for range 2 { // the repeated request has no effect
		if size := appendAt(t, l, "b", 0, "abcdefghijklmnopqrstuvwxyz"); size != 26 {
			t.Errorf("size: got %d, want 26", size)
		}
	}
	if size := appendAt(t, l, "b", 26, "more"); size != 30 {
		t.Errorf("size with dropped bytes: got %d, want 30", size)
	}
	got := content(t, l, "b")
	if want := "abcdefghij\nThis log has reached its maximum size, 10 bytes"; !strings.HasPrefix(got, want) {
		t.Errorf("log: got %q, want the prefix %q", got, want)
	}
	if lines := strings.Count(got, "\n"); lines != 2 {
		t.Errorf("lines of the log: got %d, want 2", lines)
	}
}

func TestFollowersAreWoken(t *testing.T) { onEachBackend(t, followersAreWoken) }

func followersAreWoken(t *testing.T, open openFunc) {
	l := open(0)
	first := l.Follow(t.Context(), "b", 1, 0)
	if woken(first) {
		t.Error("follower before the first byte: got woken, want waiting")
	}
	appendAt(t, l, "b", 0, "x")
	if !woken(first) {
		t.Error("follower after an append: got waiting, want woken")
	}
	if !woken(l.Follow(t.Context(), "b", 1, 0)) {
		t.Error("new follower before the end of the log: got waiting, want woken")
	}
	second := l.Follow(t.Context(), "b", 1, 1)
	if woken(second) {
		t.Error("follower at the end of the log: got woken, want waiting")
	}
	l.Close("b", 1)
	if !woken(second) {
		t.Error("follower after Close: got waiting, want woken")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if !woken(l.Follow(ctx, "b", 1, 1)) {
		t.Error("follower with a cancelled context: got waiting, want woken")
	}
}

func woken(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestAFollowerReadsTheWholeLog(t *testing.T) { onEachBackend(t, aFollowerReadsTheWholeLog) }

func aFollowerReadsTheWholeLog(t *testing.T, open openFunc) {
	l := open(0)
	const lines = 200
	var want strings.Builder
	var writers sync.WaitGroup
	writers.Go(func() {
		for i := range lines {
			text := fmt.Sprintf("line %d\n", i)
			if _, err := l.Append(t.Context(), "b", 1, int64(want.Len()), []byte(text)); err != nil {
				t.Error(err)
			}
			want.WriteString(text)
		}
	})
	var got strings.Builder
	for strings.Count(got.String(), "\n") < lines {
		more := l.Follow(t.Context(), "b", 1, int64(got.Len()))
		data, err := l.Read(t.Context(), "b", 1, int64(got.Len()), 100)
		if err != nil {
			t.Fatal(err)
		}
		got.Write(data)
		if len(data) == 0 {
			<-more
		}
	}
	writers.Wait()
	if got.String() != want.String() {
		t.Errorf("bytes: got %d, want %d", got.Len(), want.Len())
	}
}

func TestPrune(t *testing.T) { onEachBackend(t, prune) }

func prune(t *testing.T, open openFunc) {
	l := open(0)
	if err := l.Prune(t.Context(), func(string) bool { return false }); err != nil {
		t.Errorf("prune without logs: got %v, want nil", err)
	}
	for _, build := range []string{"old", "new"} {
		appendAt(t, l, build, 0, "x")
	}
	if err := l.Prune(t.Context(), func(build string) bool { return build == "new" }); err != nil {
		t.Fatal(err)
	}
	if got := content(t, l, "old"); got != "" {
		t.Errorf("pruned log: got %q, want none", got)
	}
	if got := content(t, l, "new"); got != "x" {
		t.Errorf("kept log: got %q, want %q", got, "x")
	}
}

// Repeated and overlapping requests of a runner yield exactly its output.
func TestAppendIsTheRunnersText(t *testing.T) { onEachBackend(t, appendIsTheRunnersText) }

func appendIsTheRunnersText(t *testing.T, open openFunc) {
	l := open(0)
	build := 0
	rapid.Check(t, func(r *rapid.T) {
		build++
		id := fmt.Sprint("b", build)
		text := rapid.StringN(1, 200, -1).Draw(r, "text")
		size := int64(0)
		for size < int64(len(text)) {
			from := rapid.Int64Range(0, size).Draw(r, "from")
			to := rapid.Int64Range(from, int64(len(text))).Draw(r, "to")
			size = appendAt(t, l, id, from, text[from:to])
		}
		if got := content(t, l, id); got != text {
			r.Fatalf("content: got %q, want %q", got, text)
		}
	})
}
