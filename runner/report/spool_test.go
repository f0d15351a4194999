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
		n, err := s.Write([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if n != len(text) {
			t.Errorf("bytes written of %q: got %d, want %d", text, n, len(text))
		}
	}
	b, err := s.chunk(0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if want := "12345\nThis log has reached its maximum size, 10 bytes"; !strings.HasPrefix(string(b), want) {
		t.Errorf("log: got %q, want the prefix %q", b, want)
	}
	if strings.Contains(string(b), "more") {
		t.Errorf("log: got %q, want it without the dropped text", b)
	}
	b, err = s.chunk(s.length(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	if b != nil {
		t.Errorf("chunk at the end: got %q, want none", b)
	}
	s.Close()
	s.full = false
	if _, err := s.Write(nil); err == nil {
		t.Error("Write to a closed spool: got no error, want one")
	}
	if _, err := s.chunk(0, 1); err == nil {
		t.Error("read of a closed spool: got no error, want one")
	}
}
