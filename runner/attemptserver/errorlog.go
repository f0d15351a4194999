package attemptserver

import (
	"bytes"
	stdlog "log"

	"github.com/sirupsen/logrus"
)

// NewErrorLog returns a logger for http.Server and httputil.ReverseProxy. The first reports failed TLS
// handshakes, such as those of a program that does not trust the attempt's authority. The second reports
// broken responses.
func NewErrorLog(log logrus.FieldLogger) *stdlog.Logger {
	return stdlog.New(lineWriter{log}, "", 0)
}

// lineWriter logs each line at debug level, because the programs of the repository determine the number
// of lines.
type lineWriter struct{ log logrus.FieldLogger }

func (w lineWriter) Write(p []byte) (int, error) {
	w.log.Debug(string(bytes.TrimSpace(p)))
	return len(p), nil
}
