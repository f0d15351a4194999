package pages_test

import (
	"net/http"
	"strings"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/web/pages/pagestest"
)

// A8: a log printed by curl has no escape sequence. With ?colors=1 it has those for colors. With ?raw=1 the
// bytes are sent unchanged, as a file.
func TestA8TheLogIsSafeOnATerminal(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	hostile := "\x1b]0;owned\x07\x1b]52;c;cm0gLXJm\x1b\\\x1b[2J\x1b[6n\u009b2J\x9b2J\x1bP+q544e\x1b\\\x1b[32mdone\x1b[0m\n"
	before := s.get(t, pagestest.Reader, path(s.Live, "/log?raw=1"))
	_, err := s.Logs.Append(t.Context(), s.Live.ID, 1, int64(len(before.Text)), []byte(hostile))
	if err != nil {
		t.Fatal(err)
	}
	shown := s.get(t, pagestest.Reader, path(s.Live, "/log"))
	if want := "\uFFFD2Jdone\n"; !strings.HasSuffix(shown.Text, want) {
		t.Errorf("end: got %q, want %q", tail(shown.Text, 60), want)
	}
	colored := s.get(t, pagestest.Reader, path(s.Live, "/log?colors=1"))
	if want := "\uFFFD2J\x1b[32mdone\x1b[0m\n"; !strings.HasSuffix(colored.Text, want) {
		t.Errorf("?colors=1: got the end %q, want %q", tail(colored.Text, 60), want)
	}
	for _, bad := range []string{"\x1b", "\u009b", "owned"} {
		if strings.Contains(shown.Text, bad) {
			t.Errorf("log: got %q in it, want none", bad)
		}
	}
	raw := s.get(t, pagestest.Reader, path(s.Live, "/log?raw=1"))
	if !strings.HasSuffix(raw.Text, hostile) {
		t.Errorf("?raw=1: got the end %q, want the bytes as written", tail(raw.Text, 60))
	}
	for name, want := range map[string]string{
		"Content-Type": "application/octet-stream", "Content-Disposition": "attachment; ",
	} {
		if got := raw.Header.Get(name); !strings.HasPrefix(got, want) {
			t.Errorf("?raw=1: got %s %q, want %q…", name, got, want)
		}
	}
	if got, want := shown.Header.Get("Content-Type"), "text/plain; charset=utf-8"; got != want {
		t.Errorf("Content-Type: got %q, want %q", got, want)
	}
	s.get(t, autobuild.RoleNone, path(s.Live, "/log?raw=1")).want(t, http.StatusNotFound)
}

func tail(text string, n int) string { return text[max(0, len(text)-n):] }
