package builder

import (
	"io"

	"github.com/tonistiigi/fsutil"
)

// packet is how much of a file goes to the builder at once, in bytes. A packet and its head, of at most
// 12 bytes, fit into 32 KiB: for any more, gRPC takes a buffer of 1 MiB, and zeroes all of it for each
// packet (google.golang.org/grpc/mem.DefaultBufferPool).
const packet = 32<<10 - 64

// inPackets is a directory whose files are sent in packets of that size: as much as one Read gives.
type inPackets struct{ fsutil.FS }

// Open opens a file of the directory.
func (d inPackets) Open(path string) (io.ReadCloser, error) {
	file, err := d.FS.Open(path)
	if err != nil {
		return nil, err
	}
	return packetReader{file}, nil
}

type packetReader struct{ io.ReadCloser }

func (r packetReader) Read(p []byte) (int, error) { return r.ReadCloser.Read(p[:min(len(p), packet)]) }
