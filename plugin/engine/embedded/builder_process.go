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

// A builderProcess is one process of `slipway builder`.
type builderProcess struct {
	*child.Child

	mu   sync.Mutex
	last string // last line of its output
}

// startBuilder starts the process. The process also dies if the gateway is killed, so that the next
// gateway can use the state directory. Its output goes to the gateway's log.
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

// failure returns the error of a finished process, with the last line of its output.
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

// isStateInUse reports whether the process ended because another process uses the state directory.
func (p *builderProcess) isStateInUse() bool {
	return !p.Running() && strings.Contains(p.lastLine(), "is in use by")
}
