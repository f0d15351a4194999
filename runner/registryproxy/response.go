package registryproxy

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
)

// buffers holds buffers for bodies. Each is a pointer, so that the pool does not allocate.
var buffers = sync.Pool{New: func() any { return new([2][bufferSize]byte) }}

// writeResponse writes the registry's response with the given headers, and closes it. The body must have
// the digest; "" = any. After the status is written, writeResponse can report an error only by cutting
// the connection.
func (p *Proxy) writeResponse(w http.ResponseWriter, r *http.Request, resp *http.Response, header http.Header,
	digest string) error {
	defer func() { _ = resp.Body.Close() }()
	body := io.Reader(resp.Body)
	switch code := resp.StatusCode; {
	case code >= 400:
		body = io.LimitReader(resp.Body, maxErrorBody)
		header.Del("Content-Length") // it may be larger
	case code >= 300 && code != http.StatusNotModified:
		return unavailable("the registry redirects to another address")
	}
	if r.Method != http.MethodGet || resp.StatusCode != http.StatusOK || header.Get("Content-Encoding") != "" {
		digest = "" // the body is a part of the content, or another form of it
	}
	// Headers are set last: an error after the first one would be cut to the upstream's length.
	maps.Copy(w.Header(), header)
	w.WriteHeader(resp.StatusCode)
	if r.Method == http.MethodHead {
		return nil
	}
	if err := copyVerified(w, body, digest); err != nil {
		p.log.WithError(err).
			Debugf("registry proxy: %s: the connection was closed before the end of the body", r.Method)
		panic(http.ErrAbortHandler)
	}
	return nil
}

// copyVerified copies a body. If the body has another digest, it fails before it writes the last part. So
// the client cannot accept the body as complete.
func copyVerified(w io.Writer, body io.Reader, digest string) error {
	sum := newHash(digest)
	pair, _ := buffers.Get().(*[2][bufferSize]byte)
	defer buffers.Put(pair)
	held := 0 // bytes in the other buffer, not written yet
	for i := 0; ; i = 1 - i {
		n, err := io.ReadFull(body, pair[i][:])
		if sum != nil {
			sum.Write(pair[i][:n])
		}
		ended := err == io.EOF || err == io.ErrUnexpectedEOF
		if err != nil && !ended {
			return err
		}
		if ended && sum != nil && hex.EncodeToString(sum.Sum(nil)) != digest[strings.IndexByte(digest, ':')+1:] {
			return fmt.Errorf("the content does not have the digest %s", digest)
		}
		if _, err := w.Write(pair[1-i][:held]); err != nil {
			return err
		}
		held = n
		if ended {
			_, err := w.Write(pair[i][:n])
			return err
		}
	}
}

// newHash returns the hash of a digest's algorithm; nil for no digest.
func newHash(digest string) hash.Hash {
	switch {
	case digest == "":
		return nil
	case strings.HasPrefix(digest, "sha512:"):
		return sha512.New()
	}
	return sha256.New()
}
