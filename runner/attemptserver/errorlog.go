package attemptserver

import (
	"bytes"
	stdlog "log"

	"github.com/sirupsen/logrus"
)

// NewErrorLog returns a logger for http.Server and httputil.ReverseProxy. The first reports failed TLS
// handshakes: that a program does not trust the attempt's authority shows here. The second reports
// responses that broke off.
func NewErrorLog(log logrus.FieldLogger) *stdlog.Logger {
	return stdlog.New(lineWriter{log}, "", 0)
}

// lineWriter logs each line at debug level: the programs of the repository decide how many there
// are.
type lineWriter struct{ log logrus.FieldLogger }

func (w lineWriter) Write(p []byte) (int, error) {
	w.log.Debug(string(bytes.TrimSpace(p)))
	return len(p), nil
}
