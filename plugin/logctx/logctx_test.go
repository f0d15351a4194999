package logctx_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"

	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
)

func TestALineHasWhatItsContextCarries(t *testing.T) {
	push := autobuild.Build{Number: 7, DeliveryID: "d1"}
	started := autobuild.Build{Number: 7, DeliveryID: "d1", Attempt: 2, State: autobuild.Starting}
	waiting := autobuild.Build{Number: 7, Attempt: 2, State: autobuild.Queued}
	attempt := autobuild.Attempt{BuildNumber: 7, DeliveryID: "d1", Number: 1, State: autobuild.Starting}
	for name, tt := range map[string]struct {
		ctx  func(context.Context) context.Context
		want logrus.Fields
	}{
		"nothing": {func(ctx context.Context) context.Context { return ctx }, logrus.Fields{}},
		"a delivery": {
			func(ctx context.Context) context.Context { return logctx.Delivery(ctx, "d1") },
			logrus.Fields{"delivery": "d1"},
		},
		"a push's build": {
			func(ctx context.Context) context.Context { return logctx.Build(ctx, push) },
			logrus.Fields{"delivery": "d1", "build": int64(7)},
		},
		"a started build": {
			func(ctx context.Context) context.Context { return logctx.Build(ctx, started) },
			logrus.Fields{"delivery": "d1", "build": int64(7), "attempt": 2},
		},
		"a build that waits for its next attempt": {
			func(ctx context.Context) context.Context { return logctx.Build(ctx, waiting) },
			logrus.Fields{"build": int64(7)},
		},
		"an attempt of a request": {func(ctx context.Context) context.Context {
			return logctx.Attempt(logctx.Request(ctx, "r1"), attempt)
		}, logrus.Fields{"request": "r1", "delivery": "d1", "build": int64(7), "attempt": 1}},
		"a later build in place of an earlier one": {func(ctx context.Context) context.Context {
			return logctx.Build(logctx.Build(ctx, autobuild.Build{Number: 6}), push)
		}, logrus.Fields{"delivery": "d1", "build": int64(7)}},
	} {
		t.Run(name, func(t *testing.T) {
			log, logged := test.NewNullLogger()
			logctx.Log(tt.ctx(t.Context()), log).Info("done")
			if diff := cmp.Diff(tt.want, logged.LastEntry().Data); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAContextKeepsItsOwnFields(t *testing.T) {
	log, logged := test.NewNullLogger()
	outer := logctx.Delivery(t.Context(), "d1")
	logctx.Build(outer, autobuild.Build{Number: 7})
	logctx.Log(outer, log).Info("done")
	if diff := cmp.Diff(logrus.Fields{"delivery": "d1"}, logged.LastEntry().Data); diff != "" {
		t.Error(diff)
	}
}
