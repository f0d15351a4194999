package plugin

import (
	"github.com/sirupsen/logrus"

	"slipway/config/program"
)

// plainJSON is logrus's JSON in letters that a terminal only shows. Outside of strings JSON has
// no other, so what is written is the same JSON.
type plainJSON struct{ logrus.JSONFormatter }

// Format writes one line.
func (f *plainJSON) Format(e *logrus.Entry) ([]byte, error) {
	line, err := f.JSONFormatter.Format(e)
	if err != nil {
		return nil, err
	}
	return []byte(program.Plain(string(line))), nil
}
