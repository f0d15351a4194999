package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"slipway/config/netpolicy"
)

// ErrNotFound reports a tag or digest that the registry does not have.
var ErrNotFound = errors.New("not in the registry")

// An UnauthorizedError reports a credential that a registry did not accept, or not for this image.
type UnauthorizedError struct {
	Host  string
	Image string
	Err   error
}

// Error returns the registry, the image, the fix and the registry's response.
func (e *UnauthorizedError) Error() string {
	return fmt.Sprintf(
		"registry %s does not let this credential push or read %s; check the registry's user name and password: %s",
		e.Host,
		e.Image,
		Words(e.Err),
	)
}

// Unwrap returns the registry's response.
func (e *UnauthorizedError) Unwrap() error { return e.Err }

// A RequestError is a request that a registry refused, or that did not reach it.
type RequestError struct {
	Operation string // for example "put tag 1.2 of"
	Host      string
	Image     string // without tag and digest
	Err       error
}

// Error returns the operation, the image and the registry's own words.
func (e *RequestError) Error() string { return e.Operation + " " + e.Image + ": " + Words(e.Err) }

// Unwrap returns the registry's response, or the error of the connection.
func (e *RequestError) Unwrap() error { return e.Err }

// Is reports whether target is ErrNotFound, and the registry does not have what was asked for.
func (e *RequestError) Is(target error) bool {
	var response *transport.Error
	return target == ErrNotFound && errors.As(e.Err, &response) && response.StatusCode == http.StatusNotFound
}

// A permitError is an error of a permit (WithPermit). It is never retried.
type permitError struct{ error }

func (r *permitError) Unwrap() error { return r.error }

// explain adds the operation and the repository to an error. The result is an *UnauthorizedError or a
// *RequestError, which may be ErrNotFound. Of a refused address it keeps only the reason, because the same
// address is tried with HTTPS and HTTP.
func explain(operation string, repo name.Repository, err error) error {
	var refused *netpolicy.RefusedError
	if errors.As(err, &refused) {
		return fmt.Errorf("%s %s: %w", operation, repo.Name(), refused)
	}
	var response *transport.Error
	if errors.As(err, &response) &&
		(response.StatusCode == http.StatusUnauthorized || response.StatusCode == http.StatusForbidden) {
		return &UnauthorizedError{Host: repo.RegistryStr(), Image: repo.Name(), Err: err}
	}
	return &RequestError{Operation: operation, Host: repo.RegistryStr(), Image: repo.Name(), Err: err}
}

// isBusy reports whether the registry itself returned a temporary error.
func isBusy(err error) bool {
	var response *transport.Error
	return errors.As(err, &response) && isTemporary(err)
}

// isTemporary reports whether the same request may succeed later: the network's failures,
// 408, 429 and 5xx.
func isTemporary(err error) bool {
	var refused *permitError
	if errors.As(err, &refused) || errors.Is(err, netpolicy.ErrRefused) {
		return false
	}
	var response *transport.Error
	if errors.As(err, &response) {
		return response.StatusCode >= 500 || response.StatusCode == http.StatusTooManyRequests ||
			response.StatusCode == http.StatusRequestTimeout
	}
	var dial *net.OpError
	var lookup *net.DNSError
	if errors.As(err, &dial) || errors.As(err, &lookup) {
		return true
	}
	for _, target := range []error{
		io.EOF, io.ErrUnexpectedEOF, syscall.EPIPE, syscall.ECONNRESET, syscall.ECONNREFUSED, context.DeadlineExceeded,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}
