package plugin

import (
	"fmt"
	"io"

	"github.com/sirupsen/logrus"

	"slipway/config/program"
)

// plainJSON is logrus's JSON format without characters that control a terminal. Such characters
// occur only in strings, where it escapes them, so the JSON values stay the same.
type plainJSON struct{ logrus.JSONFormatter }

// Format implements logrus.Formatter.
func (f *plainJSON) Format(e *logrus.Entry) ([]byte, error) {
	line, err := f.JSONFormatter.Format(e)
	if err != nil {
		return nil, err
	}
	return []byte(program.Plain(string(line))), nil
}

// newLogger returns a logger that writes JSON lines to w. level is the value of SLIPWAY_LOG_LEVEL.
func newLogger(w io.Writer, level string) (*logrus.Logger, error) {
	parsed, err := logrus.ParseLevel(level)
	if err != nil {
		return nil, fmt.Errorf("SLIPWAY_LOG_LEVEL is %q: use debug, info, warn or error", level)
	}
	log := logrus.New()
	log.SetOutput(w)
	log.SetLevel(parsed)
	log.SetFormatter(&plainJSON{})
	return log, nil
}
