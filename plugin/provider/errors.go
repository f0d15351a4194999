package provider

import (
	"errors"
	"fmt"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket"
)

// defaultPause is the assumed duration of a rate limit without Retry-After. Cloud counts over a
// rolling hour.
// Source: https://support.atlassian.com/bitbucket-cloud/docs/api-request-limits/.
const defaultPause = time.Minute

// kinds maps errors of the API client to errors of the ports, in the order of the checks.
var kinds = []struct{ wire, port error }{
	{bitbucket.ErrUnauthorized, autobuild.ErrUnauthorized},
	{bitbucket.ErrForbidden, autobuild.ErrForbidden},
	{bitbucket.ErrNotFound, autobuild.ErrNotFound},
	{bitbucket.ErrRemoved, autobuild.ErrRemoved},
	{bitbucket.ErrUnavailable, autobuild.ErrUnavailable},
}

// Translate wraps an error of the API client with the matching error of the ports
// (autobuild.Err...) and keeps its text. It returns other errors unchanged, for example those of
// a token source.
func Translate(err error) error {
	if err == nil {
		return nil
	}
	var e *bitbucket.Error
	if !errors.As(err, &e) {
		return err
	}
	if errors.Is(e, bitbucket.ErrRateLimited) {
		pause := e.RetryAfter
		if pause == 0 {
			pause = defaultPause
		}
		return fmt.Errorf("%w: %w", &autobuild.RateLimitError{RetryAfter: pause}, err)
	}
	for _, k := range kinds {
		if errors.Is(e, k.wire) {
			return fmt.Errorf("%w: %w", k.port, err)
		}
	}
	return err
}
