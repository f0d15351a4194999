// Package logline passes the log lines of child processes on to this process's log. Both write logrus's
// text format. Level and fields of a line stay what they are, so that warnings of a builder are warnings in
// the log of the gateway.
package logline

import (
	"maps"
	"strings"

	"github.com/go-logfmt/logfmt"
	"github.com/sirupsen/logrus"
)

// A Relay passes lines on. It is safe for concurrent use.
type Relay struct {
	Log logrus.FieldLogger
	// Fields are added to each line, for example from=builder. A child cannot replace them.
	Fields logrus.Fields
}

// Pass logs a line. A line in another format, for example of a panic, is a warning. A fatal line becomes
// an error, because it ended the child and must not end this process.
func (r Relay) Pass(line string) {
	level, message, fields, ok := parse(line)
	if !ok {
		level, message, fields = logrus.WarnLevel, line, logrus.Fields{}
	}
	maps.Copy(fields, r.Fields)
	log := r.Log.WithFields(fields)
	switch level {
	case logrus.PanicLevel, logrus.FatalLevel, logrus.ErrorLevel:
		log.Error(message)
	case logrus.WarnLevel:
		log.Warn(message)
	case logrus.DebugLevel, logrus.TraceLevel:
		log.Debug(message)
	default:
		log.Info(message)
	}
}

// parse returns the parts of a line in logrus's format without its time. ok is false for another line.
func parse(line string) (level logrus.Level, message string, fields logrus.Fields, ok bool) {
	fields = logrus.Fields{}
	var hasLevel, hasMessage bool
	d := logfmt.NewDecoder(strings.NewReader(line))
	for d.ScanRecord() {
		for d.ScanKeyval() {
			value := string(d.Value())
			switch key := string(d.Key()); key {
			case logrus.FieldKeyTime:
			case logrus.FieldKeyLevel:
				parsed, err := logrus.ParseLevel(value)
				level, hasLevel = parsed, err == nil
			case logrus.FieldKeyMsg:
				message, hasMessage = value, true
			default:
				fields[key] = value
			}
		}
	}
	return level, message, fields, d.Err() == nil && hasLevel && hasMessage
}
