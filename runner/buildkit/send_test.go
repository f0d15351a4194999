package buildkit

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tonistiigi/fsutil/types"
	"google.golang.org/grpc/encoding"

	"slipway/runner/buildcontext"
)

// gRPC's message buffers have sizes up to 32 KiB, and then from 1 MiB.
func TestAPacketFitsABuffer(t *testing.T) {
	if size := (&types.Packet{Type: types.PACKET_DATA, ID: math.MaxUint32, Data: make([]byte, chunkSize)}).SizeVT(); size > 32<<10 {
		t.Errorf("size of a packet: got %d bytes, want %d at most", size, 32<<10)
	}
	dir := t.TempDir()
	r := Request{Context: dir, Dockerfile: filepath.Join(dir, "Dockerfile")}
	sent, err := r.openDirs(nil)
	if err != nil {
		t.Fatal(err)
	}
	options, err := r.solveOptions(sent)
	if err != nil {
		t.Fatal(err)
	}
	for name, files := range options.LocalMounts {
		if _, ok := files.(chunkedFS); !ok {
			t.Errorf("file system of %s: got a %T, want a chunkedFS", name, files)
		}
	}
}

// GRPC's default codec reads each chunk into a new slice.
func TestMessagesHaveBuildKitsCodec(t *testing.T) {
	const want = "github.com/moby/buildkit/util/grpcutil/encoding/proto"
	if got := reflect.TypeOf(encoding.GetCodecV2("proto")).PkgPath(); got != want {
		t.Errorf("codec: got that of %s, want that of %s", got, want)
	}
}

func TestFilesAreSentInPackets(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789"), 10_000)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), want, 0o600); err != nil {
		t.Fatal(err)
	}
	files, err := buildcontext.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	file, err := chunkedFS{files}.Open("a")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	var got []byte
	buffer := make([]byte, 1<<20)
	for {
		n, err := file.Read(buffer)
		if got = append(got, buffer[:n]...); n > chunkSize {
			t.Errorf("chunk: got %d bytes, want %d at most", n, chunkSize)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("content (-want +got):\n%s", diff)
	}
	missing, err := chunkedFS{files}.Open("b")
	if err == nil {
		_, err = missing.Read(buffer)
	}
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: got error %v, want %v", err, os.ErrNotExist)
	}
}
