package attemptserver

import (
	"bytes"
	stdlog "log"

	"github.com/sirupsen/logrus"
)

// newErrorLog returns a logger for http.Server, which reports failed TLS handshakes: that a
// program does not trust the attempt's authority shows here.
func newErrorLog(log logrus.FieldLogger) *stdlog.Logger {
	return stdlog.New(lineWriter{log}, "", 0)
}

// lineWriter logs each line at debug level: the programs of the repository decide how many there
// are.
type lineWriter struct{ log logrus.FieldLogger }

func (w lineWriter) Write(p []byte) (int, error) {
	w.log.Debug(string(bytes.TrimSpace(p)))
	return len(p), nil
}
