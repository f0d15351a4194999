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
		"registry %s does not let this credential push or read %s; check the registry's user name and password: %v",
		e.Host,
		e.Image,
		e.Err,
	)
}

// Unwrap returns the registry's response.
func (e *UnauthorizedError) Unwrap() error { return e.Err }

// A permitError is an error of a permit (WithPermit). It is never retried.
type permitError struct{ error }

func (r *permitError) Unwrap() error { return r.error }

// explain adds the operation and the repository to an error, and maps statuses to ErrNotFound and
// *UnauthorizedError. Of a refused address it keeps only the reason, because the same address is tried with
// HTTPS and HTTP.
func explain(operation string, repo name.Repository, err error) error {
	var refused *netpolicy.RefusedError
	if errors.As(err, &refused) {
		return fmt.Errorf("%s %s: %w", operation, repo.Name(), refused)
	}
	var response *transport.Error
	if errors.As(err, &response) {
		switch response.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden:
			return &UnauthorizedError{Host: repo.RegistryStr(), Image: repo.Name(), Err: err}
		case http.StatusNotFound:
			return fmt.Errorf("%s %s: %w", operation, repo.Name(), ErrNotFound)
		}
	}
	return fmt.Errorf("%s %s: %w", operation, repo.Name(), err)
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
