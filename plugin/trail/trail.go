// Package trail names the fields by which the log's lines of one push are found, and carries
// them along a context, so that every room below a station says whose work it is about.
//
//	delivery  id of the webhook request as it is stored
//	build     number of the build, as pages and statuses say it
//	attempt   number of the attempt, from 1
//	request   id of an HTTP request, as its answer says in X-Request-Id
package trail

import (
	"context"
	"maps"

	"github.com/sirupsen/logrus"

	"slipway/plugin/autobuild"
)

// The names of the fields.
const (
	delivery = "delivery"
	build    = "build"
	attempt  = "attempt"
	request  = "request"
)

type key struct{}

// Log is a log whose lines have the fields that ctx carries.
func Log(ctx context.Context, log logrus.FieldLogger) logrus.FieldLogger {
	fields, _ := ctx.Value(key{}).(logrus.Fields)
	if len(fields) == 0 {
		return log
	}
	return log.WithFields(fields)
}

// Delivery returns a context that carries a delivery's id.
func Delivery(ctx context.Context, id string) context.Context {
	return with(ctx, logrus.Fields{delivery: id})
}

// Request returns a context that carries an HTTP request's id.
func Request(ctx context.Context, id string) context.Context {
	return with(ctx, logrus.Fields{request: id})
}

// Build returns a context that carries a build's number, its delivery's id where a delivery
// caused it, and its attempt where one is under way or was the last. What is zero, as the number
// of a probe, is left out.
func Build(ctx context.Context, b autobuild.Build) context.Context {
	fields := logrus.Fields{}
	if b.Number > 0 {
		fields[build] = b.Number
	}
	if b.DeliveryID != "" {
		fields[delivery] = b.DeliveryID
	}
	if b.Attempt > 0 && b.State != autobuild.Queued { // what is queued waits for the next one
		fields[attempt] = b.Attempt
	}
	return with(ctx, fields)
}

// Attempt returns a context that carries an attempt's number, its build's number and its
// delivery's id.
func Attempt(ctx context.Context, a autobuild.Attempt) context.Context {
	return Build(ctx, autobuild.Build{Number: a.BuildNumber, DeliveryID: a.DeliveryID, Attempt: a.Number, State: a.State})
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
