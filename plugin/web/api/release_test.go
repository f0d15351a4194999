package api

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

func TestI4RefusedBytesAreReleasedExactly(t *testing.T) {
	var b budget
	b.small.Store(3 * smallDelivery)
	b.large.Store(smallDelivery)
	for _, sizes := range [][]int{
		{1}, {smallDelivery}, {2 * smallDelivery}, {4 * smallDelivery, 10}, {10, 10, 10, 10 * smallDelivery},
	} {
		var releases []func()
		for _, size := range sizes {
			r, release := b.read(bytes.NewReader(make([]byte, size)))
			_, err := io.Copy(io.Discard, r)
			if tooMuch := size > 2*smallDelivery; errors.Is(err, errBusy) != tooMuch {
				t.Errorf("%d bytes of %v: %v", size, sizes, err)
			}
			releases = append(releases, release)
		}
		for _, release := range releases {
			release()
		}
		if b.small.Load() != 3*smallDelivery {
			t.Fatalf("bytes of small deliveries: got %v, want %v", b.small.Load(), 3*smallDelivery)
		}
		if b.large.Load() != smallDelivery {
			t.Fatalf("bytes of large deliveries: got %v, want %v", b.large.Load(), smallDelivery)
		}
	}
}
