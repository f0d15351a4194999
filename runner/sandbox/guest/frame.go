package guest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A frameType is the first byte of a frame.
type frameType byte

// Frame types; see the package comment.
const (
	frameRun       frameType = 'r'
	frameTerminate frameType = 't'
	frameKill      frameType = 'k'
	frameOutput    frameType = 'o'
	frameEnd       frameType = 'e'
	frameHello     frameType = 'h'
)

const (
	headerSize = 5
	maxRequest = 4 << 20
	maxOutput  = 32 << 10
	endSize    = 5
)

// maxSize returns the largest content of a frame, in bytes.
func (t frameType) maxSize() (int, error) {
	switch t {
	case frameRun:
		return maxRequest, nil
	case frameOutput:
		return maxOutput, nil
	case frameEnd:
		return endSize, nil
	case frameTerminate, frameKill, frameHello:
		return 0, nil
	default:
		return 0, fmt.Errorf("frame of unknown type %q", byte(t))
	}
}

// writeFrame writes a frame in one call, so that a frame is complete or absent.
func writeFrame(w io.Writer, t frameType, content []byte) error {
	limit, err := t.maxSize()
	if err != nil {
		return err
	}
	if len(content) > limit {
		return fmt.Errorf("frame %q has %d bytes, more than %d", byte(t), len(content), limit)
	}
	frame := make([]byte, headerSize, headerSize+len(content))
	frame[0] = byte(t)
	binary.BigEndian.PutUint32(frame[1:], uint32(len(content))) //nolint:gosec // G115: at most 4 MiB
	_, err = w.Write(append(frame, content...))
	return err
}

// A frameReader reads frames. The content that it returns is valid until the next call.
type frameReader struct {
	from   io.Reader
	buffer []byte
}

// next returns the next frame. At the end of the stream it returns io.EOF. It checks the type and the
// length before it reads the content, so that the peer cannot make it allocate more than the limit.
func (r *frameReader) next() (frameType, []byte, error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(r.from, header[:]); err != nil {
		return 0, nil, err
	}
	t := frameType(header[0])
	limit, err := t.maxSize()
	if err != nil {
		return 0, nil, err
	}
	size := int64(binary.BigEndian.Uint32(header[1:]))
	if size > int64(limit) {
		return 0, nil, fmt.Errorf("frame %q has %d bytes, more than %d", byte(t), size, limit)
	}
	if int64(cap(r.buffer)) < size {
		r.buffer = make([]byte, size)
	}
	content := r.buffer[:size]
	if _, err := io.ReadFull(r.from, content); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	return t, content, nil
}
