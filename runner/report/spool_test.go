package report

import (
	"strings"
	"testing"
)

func TestSpoolIsBounded(t *testing.T) {
	s, err := newSpool(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.max = 10
	for _, text := range []string{"12345", "123456", "more"} {
		if n, err := s.Write([]byte(text)); n != len(text) || err != nil {
			t.Errorf("%q: %d, %v", text, n, err)
		}
	}
	b, err := s.chunk(0, 1000)
	switch {
	case err != nil:
		t.Errorf("%q, %v: want no error", b, err)
	case !strings.HasPrefix(string(b), "12345\nThis log has reached its maximum size, 10 bytes"):
		t.Errorf(
			`%q, %v: want the prefix "12345\nThis log has reached its maximum size, 10 bytes" of string(b)`,
			b,
			err,
		)
	case strings.Contains(string(b), "more"):
		t.Errorf(`%q, %v: want no "more" in string(b)`, b, err)
	}
	if b, err := s.chunk(s.length(), 1000); b != nil || err != nil {
		t.Errorf("nothing is left, got %q, %v", b, err)
	}
	s.Close()
	s.full = false
	if _, err := s.Write(nil); err == nil {
		t.Error("a closed spool took a write")
	}
	if _, err := s.chunk(0, 1); err == nil {
		t.Error("a closed spool was read")
	}
}
