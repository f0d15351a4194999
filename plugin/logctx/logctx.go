// Package logctx carries the log fields of one push in a context. Each log line about the push has
// the same fields, in all packages.
//
//	delivery  id of the stored webhook request
//	build     number of the build, as on pages and in statuses
//	attempt   number of the attempt, from 1
//	request   id of an HTTP request, as in the header X-Request-Id of its response
package logctx

import (
	"context"
	"maps"

	"github.com/sirupsen/logrus"

	"slipway/plugin/autobuild"
)

// The names of the log fields.
const (
	delivery = "delivery"
	build    = "build"
	attempt  = "attempt"
	request  = "request"
)

type key struct{}

// Log returns a logger that adds the fields of ctx to each line.
func Log(ctx context.Context, log logrus.FieldLogger) logrus.FieldLogger {
	fields, _ := ctx.Value(key{}).(logrus.Fields)
	if len(fields) == 0 {
		return log
	}
	return log.WithFields(fields)
}

// Delivery returns a context with the id of a delivery.
func Delivery(ctx context.Context, id string) context.Context {
	return with(ctx, logrus.Fields{delivery: id})
}

// Request returns a context with the id of an HTTP request.
func Request(ctx context.Context, id string) context.Context {
	return with(ctx, logrus.Fields{request: id})
}

// Build returns a context with a build's number. It adds the id of the delivery that caused the
// build, if any, and the running or last attempt. It omits zero values, such as the number of a
// probe.
func Build(ctx context.Context, b autobuild.Build) context.Context {
	fields := logrus.Fields{}
	if b.Number > 0 {
		fields[build] = b.Number
	}
	if b.DeliveryID != "" {
		fields[delivery] = b.DeliveryID
	}
	if b.Attempt > 0 && b.State != autobuild.Queued { // a queued build waits for its next attempt
		fields[attempt] = b.Attempt
	}
	return with(ctx, fields)
}

// Attempt returns a context with an attempt's number, its build's number and its delivery's id.
func Attempt(ctx context.Context, a autobuild.Attempt) context.Context {
	return Build(
		ctx,
		autobuild.Build{Number: a.BuildNumber, DeliveryID: a.DeliveryID, Attempt: a.Number, State: a.State},
	)
}

func with(ctx context.Context, more logrus.Fields) context.Context {
	known, _ := ctx.Value(key{}).(logrus.Fields)
	all := maps.Clone(more)
	for name, value := range known {
		if _, newer := more[name]; !newer {
			all[name] = value
		}
	}
	return context.WithValue(ctx, key{}, all)
}
