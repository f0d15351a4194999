package runner

import (
	"io"
	"os"

	"slipway/runner/hints"
)

// maxDockerfile bounds what hints are looked for in, in bytes.
const maxDockerfile = 1 << 20

// hints shows what in the Dockerfile would have made this build faster. They are advice: what
// cannot be read has none.
func (r *standalone) hints() {
	file, err := os.Open(r.request.Dockerfile)
	if err != nil {
		return
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxDockerfile))
	if err != nil {
		return
	}
	for _, h := range hints.Find(text, r.image.Ran) {
		r.log.line("  %-7s %s:%d: %s", "hint", r.s.Dockerfile, h.Line, h.Text)
	}
}
