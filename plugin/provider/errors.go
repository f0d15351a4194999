package provider

import (
	"errors"
	"fmt"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket"
)

// defaultPause is how long a rate limit is taken to last when the provider does not say:
// Cloud counts over a rolling hour.
// Source: https://support.atlassian.com/bitbucket-cloud/docs/api-request-limits/.
const defaultPause = time.Minute

// kinds pairs the wire's errors with the ports', in the order they are tried.
var kinds = []struct{ wire, port error }{
	{bitbucket.ErrUnauthorized, autobuild.ErrUnauthorized},
	{bitbucket.ErrForbidden, autobuild.ErrForbidden},
	{bitbucket.ErrNotFound, autobuild.ErrNotFound},
	{bitbucket.ErrRemoved, autobuild.ErrRemoved},
	{bitbucket.ErrUnavailable, autobuild.ErrUnavailable},
}

// Translate gives an error of the wire its place among the errors of the ports, keeping what
// it says. Others, as those of a token source, stay as they are.
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
