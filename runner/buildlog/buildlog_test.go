package buildlog_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/runner/buildlog"
)

func TestLog(t *testing.T) {
	var out bytes.Buffer
	now := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	l := buildlog.New(&out, func() time.Time { now = now.Add(1234 * time.Millisecond); return now })
	l.Row("image", "acme/app")
	l.Row("target", "")
	took, err := l.Run("build", func() error { l.Line("step %d", 1); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if took != 1234*time.Millisecond {
		t.Errorf("duration: got %s, want 1.234s", took)
	}
	failed := errors.New("busy\nbody")
	if _, err := l.Run("push", func() error { return failed }); !errors.Is(err, failed) {
		t.Errorf("got error %v, want %v", err, failed)
	}
	l.Attempt(failed, 1, time.Second)
	l.Retry(failed, 250*time.Millisecond)
	want := "  image       acme/app\n" +
		"\n=== build\nstep 1\n=== build took 1.23s\n" +
		"\n=== push\n" +
		"busy; attempt 2 in 1s\nbusy; retry in 300ms\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}
