package gitproxy

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"

	"slipway/plugin/autobuild"
)

// lfsType is the content type of the Git LFS API.
const lfsType = "application/vnd.git-lfs+json"

// The limits of Git LFS.
const (
	maxBatch         = 1 << 20   // bytes of a request, and of the response to the runner
	maxBatchResponse = 8 << 20   // bytes of the upstream's response
	maxObjects       = 1000      // objects of one request, and offered objects of one attempt
	maxAction        = 16 << 10  // bytes of the address and headers of one object
	maxHeld          = 64 << 20  // bytes of the addresses and headers of all offered objects
	maxObjectSize    = 100 << 30 // bytes of one object
)

// An object is an object of a batch response, with its address and the headers of the request.
type object struct {
	oid    string // SHA-256, hex
	size   int64  // bytes
	href   *url.URL
	header map[string]string
	login  bool // the address is at the provider and needs the linked account's credential
	held   int  // bytes that count towards maxHeld
}

// The forwarded fields of the batch API. All other fields are removed.
type (
	batchRequest struct {
		Operation string        `json:"operation"`
		Transfers []string      `json:"transfers"`
		Ref       *batchRef     `json:"ref,omitempty"`
		Objects   []batchObject `json:"objects"`
		HashAlgo  string        `json:"hash_algo,omitempty"`
	}
	batchRef struct {
		Name string `json:"name"`
	}
	batchResponse struct {
		Transfer string        `json:"transfer,omitempty"`
		Objects  []batchObject `json:"objects"`
		HashAlgo string        `json:"hash_algo,omitempty"`
	}
	batchObject struct {
		OID           string                 `json:"oid"`
		Size          int64                  `json:"size"`
		Authenticated bool                   `json:"authenticated,omitempty"`
		Actions       map[string]batchAction `json:"actions,omitempty"`
		Error         *batchError            `json:"error,omitempty"`
	}
	batchAction struct {
		Href      string            `json:"href"`
		Header    map[string]string `json:"header,omitempty"`
		ExpiresIn int               `json:"expires_in,omitempty"`
	}
	batchError struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}
)

var sha256Hex = regexp.MustCompile(`^[0-9a-f]{64}$`)

// serveBatch requests the addresses of objects from the provider. It keeps the addresses and headers, and
// responds with its own addresses below base.
func (p *Proxy) serveBatch(w http.ResponseWriter, r *http.Request, s *session, u *upstream, base string) error {
	text, err := io.ReadAll(io.LimitReader(r.Body, maxBatch+1))
	if err != nil {
		return p.refusalFor(r.Context(), refuse(http.StatusRequestTimeout, "the batch request is incomplete", err))
	}
	response, err := p.requestBatch(r, s, u, base, text)
	if err != nil {
		return p.refusalFor(r.Context(), err)
	}
	w.Header().Set("Content-Type", lfsType)
	w.Header().Set("Cache-Control", "no-store")
	if _, err := w.Write(response); err != nil { //nolint:gosec // JSON, by its content type
		panic(http.ErrAbortHandler) // the client disconnected
	}
	return nil
}

// requestBatch returns the response to a batch request. It holds one of the slots for batches while it
// decodes the request and the response, but not while the client sends or reads, so that a slow client does
// not block others.
func (p *Proxy) requestBatch(r *http.Request, s *session, u *upstream, base string, text []byte) ([]byte, error) {
	select {
	case p.batches <- struct{}{}:
		defer func() { <-p.batches }()
	case <-r.Context().Done():
		return nil, context.Cause(r.Context())
	}
	request, err := parseBatch(text)
	if err != nil {
		return nil, err
	}
	response, err := u.sendBatch(r, request)
	if err != nil {
		return nil, err
	}
	for i := range response.Objects {
		if err := p.replaceAction(&response.Objects[i], s, u, base); err != nil {
			return nil, err
		}
	}
	body, err := json.Marshal(response)
	if err != nil {
		return nil, fmt.Errorf("encode a batch response: %w", err)
	}
	if len(body) > maxBatch {
		return nil, refuse(http.StatusBadGateway, "Bitbucket's Git LFS response is larger than 1 MiB", nil)
	}
	return body, nil
}

// parseBatch parses and checks a batch request. It accepts only downloads, and requests only the transfer
// basic, because others refer to programs or files.
func parseBatch(text []byte) (batchRequest, error) {
	var request batchRequest
	if len(text) > maxBatch {
		return request, refuse(http.StatusRequestEntityTooLarge, "the batch request is larger than 1 MiB", nil)
	}
	if err := json.Unmarshal(text, &request); err != nil {
		return request, refuse(http.StatusBadRequest, "the batch request is not valid", err)
	}
	if request.Operation != "download" {
		return request, refuse(http.StatusForbidden, "only downloads are served here", nil)
	}
	if len(request.Objects) > maxObjects {
		message := fmt.Sprintf("a batch has at most %d objects", maxObjects)
		return request, refuse(http.StatusRequestEntityTooLarge, message, nil)
	}
	if request.HashAlgo != "" && request.HashAlgo != "sha256" {
		return request, refuse(http.StatusConflict, "only objects named by SHA-256 are served here", nil)
	}
	for i, o := range request.Objects {
		if !sha256Hex.MatchString(o.OID) || o.Size < 0 || o.Size > maxObjectSize {
			return request, refuse(http.StatusUnprocessableEntity, "an object's id or size is not valid", nil)
		}
		request.Objects[i] = batchObject{OID: o.OID, Size: o.Size}
	}
	request.Transfers = []string{"basic"}
	return request, nil
}

// sendBatch sends a request to the provider, without a retry.
func (u *upstream) sendBatch(r *http.Request, request batchRequest) (batchResponse, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return batchResponse{}, fmt.Errorf("encode a batch request: %w", err)
	}
	out, err := http.NewRequestWithContext(r.Context(), http.MethodPost, "/", bytes.NewReader(body))
	if err != nil {
		return batchResponse{}, fmt.Errorf("create a batch request: %w", err)
	}
	out.Header.Set("Accept", lfsType)
	out.Header.Set("Content-Type", lfsType)
	resp, err := u.sendOnce(out, lfsBatch)
	if err != nil {
		return batchResponse{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return batchResponse{}, statusRefusal(resp, lfsBatch)
	}
	var response batchResponse
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxBatchResponse)).Decode(&response); err != nil {
		return response, refuse(http.StatusBadGateway, "Bitbucket's Git LFS response is not valid", err)
	}
	if response.Transfer != "" && response.Transfer != "basic" || len(response.Objects) > maxObjects {
		return response, refuse(http.StatusBadGateway, "Bitbucket offers no basic Git LFS transfer", nil)
	}
	return response, nil
}

// replaceAction replaces an object's download action with one at the proxy's own address.
func (p *Proxy) replaceAction(o *batchObject, s *session, u *upstream, base string) error {
	download, ok := o.Actions["download"]
	authenticated := o.Authenticated
	o.Actions, o.Authenticated = nil, true
	if !ok {
		return nil
	}
	offered, err := u.parseAction(*o, download, authenticated)
	if err != nil {
		const message = "Bitbucket's Git LFS response has an invalid address"
		return refuse(http.StatusBadGateway, message, err)
	}
	id := rand.Text()
	if err := p.keep(s, id, offered); err != nil {
		return err
	}
	o.Actions = map[string]batchAction{"download": {Href: base + string(lfsObject) + id, ExpiresIn: download.ExpiresIn}}
	return nil
}

// parseAction checks an action and returns its object. An action without headers at the provider's own
// host needs the linked account's credential; git-lfs does the same with its own credential.
func (u *upstream) parseAction(o batchObject, a batchAction, authenticated bool) (object, error) {
	own, err := u.address()
	if err != nil {
		return object{}, err
	}
	href, err := url.Parse(a.Href)
	if err != nil || href.Host == "" || href.Scheme != "https" && (href.Scheme != "http" || own.Scheme != "http") {
		return object{}, errors.New("the address of an object is not an HTTPS URL")
	}
	held := len(a.Href)
	for name, value := range a.Header {
		held += len(name) + len(value)
	}
	if held > maxAction || !sha256Hex.MatchString(o.OID) || o.Size < 0 || o.Size > maxObjectSize {
		return object{}, fmt.Errorf("an object's address, id or size is out of bounds (%d bytes)", held)
	}
	return object{
		oid: o.OID, size: o.Size, href: href, header: a.Header, held: held,
		login: !authenticated && len(a.Header) == 0 && href.Scheme == own.Scheme && href.Host == own.Host,
	}, nil
}

// keep stores an object for an attempt until it is fetched or the attempt ends. If there are too many, it
// removes the oldest, which git-lfs requests again.
func (p *Proxy) keep(s *session, id string, o object) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.ctx.Err() != nil {
		return refuse(http.StatusForbidden, errEnded.Error(), autobuild.ErrFenced)
	}
	if len(s.order) == maxObjects {
		p.drop(s, s.order[0])
	}
	if p.held+o.held > maxHeld {
		return retryLater("too many Git LFS objects wait to be fetched", retryAfter, nil)
	}
	p.held += o.held
	s.objects[id] = o
	s.order = append(s.order, id)
	return nil
}

// drop removes an object. The caller holds p.mu.
func (p *Proxy) drop(s *session, id string) {
	o, ok := s.objects[id]
	if !ok {
		return
	}
	p.held -= o.held
	delete(s.objects, id)
	for i, known := range s.order {
		if known == id {
			s.order = append(s.order[:i], s.order[i+1:]...)
			return
		}
	}
}
