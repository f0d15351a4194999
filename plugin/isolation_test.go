package plugin

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	logrustest "github.com/sirupsen/logrus/hooks/test"

	"slipway/config/buildservice"
)

// isolation is a builder service that reports a level or an error.
type isolation struct {
	level buildservice.Level
	err   error
}

func (i isolation) Level(context.Context) (buildservice.Level, error) { return i.level, i.err }

func TestTheIsolationIsLoggedAtTheStart(t *testing.T) {
	broken := errors.New("no such file")
	for name, c := range map[string]struct {
		isolation isolation
		want      logrus.Entry
	}{
		"full": {
			isolation{level: buildservice.Level{Hooks: buildservice.LevelFull}},
			logrus.Entry{
				Level: logrus.InfoLevel, Message: "builds on this machine are isolated",
				Data: logrus.Fields{"hooks": "full"},
			},
		},
		"limits without effect": {
			isolation{level: buildservice.Level{Hooks: buildservice.LevelFull, NotHeld: []string{"disk: a", "network: b"}}},
			logrus.Entry{
				Level: logrus.InfoLevel, Message: "builds on this machine are isolated",
				Data: logrus.Fields{"hooks": "full", "without_effect": "disk: a; network: b"},
			},
		},
		"off": {
			isolation{level: buildservice.Level{Hooks: buildservice.LevelOff, Why: "runc is not installed"}},
			logrus.Entry{
				Level: logrus.WarnLevel, Message: "build hooks are off on this machine",
				Data: logrus.Fields{"hooks": "off", "why": "runc is not installed"},
			},
		},
		"no answer": {
			isolation{err: broken},
			logrus.Entry{
				Level: logrus.ErrorLevel, Message: "the builder service does not answer: builds wait for it",
				Data: logrus.Fields{"error": broken},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			log, hook := logrustest.NewNullLogger()
			g := &Gateway{log: log, isolation: c.isolation}
			g.logIsolation(t.Context())
			type line struct {
				Level   logrus.Level
				Message string
				Data    logrus.Fields
			}
			got := *hook.LastEntry()
			if diff := cmp.Diff(
				line{c.want.Level, c.want.Message, c.want.Data}, line{got.Level, got.Message, got.Data},
				cmp.Comparer(func(a, b error) bool { return errors.Is(a, b) }),
			); diff != "" {
				t.Errorf("log line (-want +got):\n%s", diff)
			}
		})
	}
}
