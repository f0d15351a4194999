package embedded

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"

	"github.com/sirupsen/logrus"

	"slipway/config/child"
)

// A builderProcess is one run of `slipway builder`.
type builderProcess struct {
	*child.Child

	mu   sync.Mutex
	last string // line of its output
}

// startBuilder starts the process. It dies with the gateway, however that ends, so that
// the next gateway finds the state free. Its lines go into the gateway's log.
func startBuilder(executable string, args []string, log logrus.FieldLogger) (p *builderProcess, err error) {
	cmd := exec.Command(executable, args...) //nolint:gosec,noctx // our own binary, which outlives the call
	cmd.Env = builderEnv(os.Environ())
	p = &builderProcess{}
	p.Child, err = child.Start(cmd, child.Options{Line: func(line string) {
		p.mu.Lock()
		p.last = line
		p.mu.Unlock()
		log.WithField("from", "builder").Info(line)
	}})
	if err != nil {
		return nil, err
	}
	go func() {
		if err := p.Err(); err != nil {
			log.WithError(err).Warn("the builder ended")
		}
	}()
	return p, nil
}

// failure says why an ended process ended, in its own last words.
func (p *builderProcess) failure() error {
	if err := p.Err(); err != nil {
		return fmt.Errorf("%w: %s", err, p.lastLine())
	}
	return errors.New("it stopped at once")
}

func (p *builderProcess) lastLine() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// foundStateInUse reports whether it ended because another process has the state.
func (p *builderProcess) foundStateInUse() bool {
	return !p.Running() && strings.Contains(p.lastLine(), "is in use by")
}
