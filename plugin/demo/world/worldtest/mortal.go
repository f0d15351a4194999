package worldtest

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v3"

	"slipway/config"
	"slipway/plugin"
)

// sentenceVariable names the file of a Sentence to a gateway.
const sentenceVariable = "SLIPWAY_TEST_SENTENCE"

// A Sentence has a gateway die at a commit. The gateway is told where the sentence stands by
// Environment, and looks there at each commit.
type Sentence struct{ file string }

// NewSentence passes none yet.
func NewSentence(t testing.TB) Sentence {
	return Sentence{filepath.Join(t.TempDir(), "sentence")}
}

// Environment is what the gateway is to be started with.
func (s Sentence) Environment() string { return sentenceVariable + "=" + s.file }

// Pass has the gateway kill itself, once, before or after it commits what begins with those
// words.
func (s Sentence) Pass(when, what string) error {
	if err := os.WriteFile(s.file+".new", []byte(when+" "+what), 0o600); err != nil {
		return err
	}
	return os.Rename(s.file+".new", s.file)
}

// Lift takes back what was not carried out, and reports whether it was.
func (s Sentence) Lift() (carriedOut bool) { return os.Remove(s.file) != nil }

// carryOut is what the gateway does at each commit.
func carryOut(file, what string, done bool) {
	text, err := os.ReadFile(file) //nolint:gosec // of our own test
	if err != nil {
		return
	}
	when := "before "
	if done {
		when = "after "
	}
	if at, ok := strings.CutPrefix(string(text), when); !ok || !strings.HasPrefix(what, at) || os.Remove(file) != nil { //nolint:gosec // of our own test
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // as a crash: nothing is deferred, nothing flushed
	select {}
}

// mortalGateway is `slipway gateway` that dies where a sentence says.
func mortalGateway(file string) *cli.Command {
	return &cli.Command{Name: "gateway", Action: func(ctx context.Context, cmd *cli.Command) error {
		c, err := config.LoadGateway(os.Environ())
		if err != nil {
			return err
		}
		log := logrus.New()
		log.SetOutput(cmd.Root().ErrWriter)
		log.SetFormatter(&logrus.JSONFormatter{})
		g, err := plugin.New(ctx, plugin.Options{Config: c, Log: log, Commit: func(what string, done bool) { carryOut(file, what, done) }})
		if err != nil {
			return err
		}
		return g.Run(ctx)
	}}
}
