package logline_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"

	"slipway/config/logline"
)

// A got is a line of the log.
type got struct {
	Level   logrus.Level
	Message string
	Fields  logrus.Fields
}

func pass(line string) got {
	log, hook := test.NewNullLogger()
	log.SetLevel(logrus.TraceLevel)
	logline.Relay{Log: log, Fields: logrus.Fields{"from": "builder"}}.Pass(line)
	last := hook.LastEntry()
	return got{last.Level, last.Message, last.Data}
}

func TestPass(t *testing.T) {
	for line, want := range map[string]got{
		`time="2026-11-30T10:00:00Z" level=info msg="builder is ready" address="unix:///a b"`: {
			logrus.InfoLevel, "builder is ready", logrus.Fields{"from": "builder", "address": "unix:///a b"},
		},
		`time="2026-11-30T10:00:00Z" level=warning msg=late`: {logrus.WarnLevel, "late", logrus.Fields{"from": "builder"}},
		`level=fatal msg="the end"`:                          {logrus.ErrorLevel, "the end", logrus.Fields{"from": "builder"}},
		`level=panic msg="the end"`:                          {logrus.ErrorLevel, "the end", logrus.Fields{"from": "builder"}},
		`level=trace msg=small`:                              {logrus.DebugLevel, "small", logrus.Fields{"from": "builder"}},
		`level=info msg=lies from=gateway`:                   {logrus.InfoLevel, "lies", logrus.Fields{"from": "builder"}},
		`slipway: open /dev/null: no such file`: {
			logrus.WarnLevel, "slipway: open /dev/null: no such file", logrus.Fields{"from": "builder"},
		},
		`level=loud msg=x`:   {logrus.WarnLevel, "level=loud msg=x", logrus.Fields{"from": "builder"}},
		`level=info msg="\x`: {logrus.WarnLevel, `level=info msg="\x`, logrus.Fields{"from": "builder"}},
		`level=info`:         {logrus.WarnLevel, "level=info", logrus.Fields{"from": "builder"}},
	} {
		if diff := cmp.Diff(want, pass(line)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", line, diff)
		}
	}
}

// A line that passes two processes stays one line with its own level and fields.
func TestPassThroughTwoProcesses(t *testing.T) {
	var inner, outer bytes.Buffer
	child := logger(&inner)
	child.WithError(errors.New(`read "a"`)).WithField("group", "x=y").Warn("it says level=info\nand more")
	relay := logline.Relay{Log: logger(&outer), Fields: logrus.Fields{"domain": "b1"}}
	relay.Pass(strings.TrimSpace(inner.String()))
	want := got{
		logrus.WarnLevel, "it says level=info\nand more",
		logrus.Fields{"from": "builder", "domain": "b1", "error": `read "a"`, "group": "x=y"},
	}
	if diff := cmp.Diff(want, pass(strings.TrimSpace(outer.String()))); diff != "" {
		t.Errorf("line (-want +got):\n%s", diff)
	}
}

func logger(to *bytes.Buffer) *logrus.Logger {
	log := logrus.New()
	log.SetOutput(to)
	return log
}
