package gitrelay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

const (
	batchPath = "/info/lfs/objects/batch"
	maxBatch  = 4 << 20 // bytes of a batch response: 1,000 objects have about 400 KiB
)

// errBatch means that the gateway's response about LFS objects is malformed.
var errBatch = errors.New("the gateway's response about LFS objects has an unknown format")

// A batch is the response about LFS objects. Fields that are not listed are left out, for example the headers
// of an action. Source: https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md
type batch struct {
	Transfer string   `json:"transfer,omitempty"`
	Objects  []object `json:"objects"`
	HashAlgo string   `json:"hash_algo,omitempty"`
}

type object struct {
	OID           string       `json:"oid"`
	Size          int64        `json:"size"`
	Authenticated bool         `json:"authenticated,omitempty"`
	Actions       *actions     `json:"actions,omitempty"`
	Error         *objectError `json:"error,omitempty"`
}

type actions struct {
	Download *action `json:"download,omitempty"`
}

type action struct {
	Href      string `json:"href"`
	ExpiresIn int    `json:"expires_in,omitempty"` // seconds
	ExpiresAt string `json:"expires_at,omitempty"`
}

type objectError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// rewriteBatch puts the provider's name in place of the gateway's in the addresses of objects: the
// gateway cannot be reached from the attempt's network.
func (l *Relay) rewriteBatch(resp *http.Response) error {
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxBatch+1))
	if err != nil {
		return err
	}
	var response batch
	if len(text) > maxBatch {
		return fmt.Errorf("%w: more than %d bytes", errBatch, maxBatch)
	}
	if err := json.Unmarshal(text, &response); err != nil {
		return errBatch
	}
	for _, o := range response.Objects {
		if o.Actions == nil || o.Actions.Download == nil {
			continue
		}
		if o.Actions.Download.Href, err = l.objectAddress(o.Actions.Download.Href); err != nil {
			return err
		}
	}
	if text, err = json.Marshal(response); err != nil {
		return err
	}
	resp.Body = io.NopCloser(bytes.NewReader(text))
	resp.ContentLength = int64(len(text))
	resp.Header.Set("Content-Length", strconv.Itoa(len(text)))
	return nil
}

// objectAddress returns the relay's address of an object. It uses only the id of the gateway's address,
// because the gateway's public name may differ from the name that the runner uses.
func (l *Relay) objectAddress(href string) (string, error) {
	address, err := url.Parse(href)
	if err != nil {
		return "", errBatch
	}
	before, id, ok := strings.Cut(address.EscapedPath(), "/lfs/")
	build := l.o.Gateway.Path[strings.LastIndexByte(l.o.Gateway.Path, '/'):]
	if !ok || !strings.HasSuffix(before, build) || !objectForm.MatchString(id) {
		return "", errBatch
	}
	scheme := "https://"
	if l.o.Plain {
		scheme = "http://"
	}
	return scheme + l.o.Host + l.objects + id, nil
}
