package attempt

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"slipway/config/buildservice"
	"slipway/runner/buildhooks"
)

// limitTimeout bounds the request for the limit that an attempt met. ctx may have ended.
const limitTimeout = 5 * time.Second

// explainLimit returns the error of an attempt with the limit that caused it, if it met one. Only a builder
// service limits the disk of an attempt, and the sandbox of its hooks.
func (j *job) explainLimit(ctx context.Context, err error) error {
	if err == nil || j.o.Control == nil {
		return err
	}
	ask, cancel := context.WithTimeout(context.WithoutCancel(ctx), limitTimeout)
	defer cancel()
	why, limitErr := j.o.Control.Limit(ask)
	var hook *buildhooks.Failure
	byHook := errors.As(err, &hook) && ctx.Err() == nil
	switch {
	case limitErr != nil && byHook:
		return errors.Join(err, limitErr)
	case strings.HasPrefix(why, buildservice.DiskFull):
		return failed(reasonDisk, fmt.Errorf("%s: %w", why, err))
	case why != "" && byHook:
		return failed(reasonOOM, fmt.Errorf("%w: %s", err, why))
	}
	return err
}

// isDiskFull reports whether an error is that of a full disk. The builder service stops a runner whose files
// exceed their limit, which looks like a stop by the gateway.
func isDiskFull(err error) bool {
	var own *fault
	return errors.As(err, &own) && own.reason == reasonDisk
}
