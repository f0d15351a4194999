// Package discard provides a logger without output.
package discard

import (
	"io"

	"github.com/sirupsen/logrus"
)

// Logger returns a new logger that discards all lines.
func Logger() *logrus.Logger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return log
}
