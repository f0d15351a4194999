package builder

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tonistiigi/fsutil"
)

// A packet and its head have at most 32 KiB.
func TestFilesAreSentInPackets(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789"), 10_000)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), want, 0o600); err != nil {
		t.Fatal(err)
	}
	files, err := fsutil.NewFS(dir)
	if err != nil {
		t.Fatal(err)
	}
	file, err := inPackets{files}.Open("a")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	var got []byte
	buffer := make([]byte, 1<<20)
	for {
		n, err := file.Read(buffer)
		if got = append(got, buffer[:n]...); n > packet {
			t.Errorf("a packet of %d bytes", n)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Error(diff)
	}
	if _, err := (inPackets{files}).Open("b"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}
