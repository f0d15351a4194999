package buildkit

import (
	"io"

	"github.com/tonistiigi/fsutil"
)

// chunkSize is the largest part of a file that is sent in one message, in bytes. A chunk and its header
// of at most 12 bytes fit into 32 KiB. For a larger message gRPC uses a buffer of 1 MiB, and clears it
// for each message (google.golang.org/grpc/mem.DefaultBufferPool).
const chunkSize = 32<<10 - 64

// chunkedFS is a directory whose files are sent in chunks. fsutil sends one message for each Read, so
// a Read returns at most chunkSize bytes.
type chunkedFS struct{ fsutil.FS }

// Open opens a file of the directory.
func (d chunkedFS) Open(path string) (io.ReadCloser, error) {
	file, err := d.FS.Open(path)
	if err != nil {
		return nil, err
	}
	return chunkReader{file}, nil
}

type chunkReader struct{ io.ReadCloser }

func (r chunkReader) Read(p []byte) (int, error) {
	return r.ReadCloser.Read(p[:min(len(p), chunkSize)])
}
