package gitproxy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"slipway/config/netpolicy"
	"slipway/plugin/logctx"
)

// maxRedirects is the largest number of redirects of an object's host.
const maxRedirects = 3

// serveObject streams one LFS object and checks its size and SHA-256. The response has no Content-Length, so that
// the client always notices an early end.
func (p *Proxy) serveObject(w http.ResponseWriter, r *http.Request, s *session, u *upstream, id string) error {
	p.mu.Lock()
	o, ok := s.objects[id]
	p.mu.Unlock()
	if !ok {
		return refuse(http.StatusNotFound, "this object was not offered to this attempt, or was fetched already", nil)
	}
	resp, err := p.fetchObject(r.Context(), u, o)
	if err != nil {
		return p.refusalFor(r.Context(), err)
	}
	defer resp.Body.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "no-store")
	if err := p.copyObject(w, resp.Body, o); err != nil {
		cause := context.Cause(r.Context())
		logctx.Log(r.Context(), p.o.Log).
			WithError(err).
			WithField("cause", cause).
			Debug("LFS object not sent completely")
		panic(http.ErrAbortHandler) // the header was sent: only closing the connection shows the error
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(s, id)
	return nil
}

// copyObject copies an object's body to w and checks its size and hash.
func (p *Proxy) copyObject(w io.Writer, body io.Reader, o object) error {
	buffer := p.buffers.Get()
	defer p.buffers.Put(buffer)
	sum := sha256.New()
	n, err := io.CopyBuffer(io.MultiWriter(sum, w), io.LimitReader(body, o.size), buffer)
	if err != nil {
		return fmt.Errorf("copy object %s: %w", o.oid, err)
	}
	if more, _ := io.ReadFull(body, buffer[:1]); more > 0 || n != o.size {
		return fmt.Errorf("object %s does not have %d bytes", o.oid, o.size)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != o.oid {
		return fmt.Errorf("object %s has the SHA-256 %s", o.oid, got)
	}
	return nil
}

// fetchObject requests an object from the address in the batch response, and follows a few redirects without
// a credential. The policy checks each address when it is dialed.
func (p *Proxy) fetchObject(ctx context.Context, u *upstream, o object) (*http.Response, error) {
	address := o.href
	for hop := 0; ; hop++ {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
		if err != nil {
			return nil, fmt.Errorf("create a request for an object: %w", err)
		}
		if hop == 0 {
			if err := u.authorize(request, o); err != nil {
				return nil, err
			}
		}
		resp, err := p.objects.RoundTrip(request)
		if errors.Is(err, netpolicy.ErrRefused) {
			const message = "the object is at an address that the gateway does not connect to"
			return nil, refuse(http.StatusBadGateway, message, err)
		}
		if err != nil {
			return nil, retryLater("the object's host does not respond", retryAfter, err)
		}
		if resp.StatusCode == http.StatusOK {
			return resp, nil
		}
		discard(resp)
		next, err := resp.Location()
		if err != nil || resp.StatusCode < 300 || resp.StatusCode >= 400 {
			return nil, retryLater(fmt.Sprintf("the object's host returned %d", resp.StatusCode), retryAfter, err)
		}
		if hop == maxRedirects || next.Scheme != "https" && next.Scheme != address.Scheme {
			return nil, refuse(http.StatusBadGateway, "the object's host redirects too often, or away from HTTPS", nil)
		}
		next.User = nil
		address = next
	}
}

// framing has the headers of connections and messages. A batch response must not set them.
var framing = []string{"Connection", "Content-Length", "Host", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

// authorize adds the headers of the batch response, and the linked account's credential if it is needed.
func (u *upstream) authorize(request *http.Request, o object) error {
	for name, value := range o.header {
		if !slices.Contains(framing, http.CanonicalHeaderKey(name)) {
			request.Header.Set(name, value)
		}
	}
	if !o.login {
		return nil
	}
	c, err := u.credential(request.Context())
	if err != nil {
		return err
	}
	request.SetBasicAuth(c.Username, c.Password.Reveal())
	return nil
}
