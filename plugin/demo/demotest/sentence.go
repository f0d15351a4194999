package demotest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"slipway/plugin/store/storetest"
)

// sentenceVariable names the file of a Sentence to a gateway.
const sentenceVariable = "SLIPWAY_TEST_SENTENCE"

// When a sentence is carried out.
const (
	Before     = "before"
	After      = "after"
	Unanswered = "unanswered" // the commit happens, and its answer is lost; nobody dies
)

// A Sentence has a gateway die at a commit, or a runner at a step: it looks at each whether
// there is one for it.
type Sentence struct{ file string }

// NewSentence is for the gateway that is started with Environment. It passes none yet.
func NewSentence(t testing.TB) Sentence {
	return Sentence{filepath.Join(t.TempDir(), "sentence")}
}

// RunnersSentence is for the embedded runners of the house, of first attempts alone. It passes
// none yet.
func (env *Env) RunnersSentence() Sentence {
	env.T.Helper()
	s := Sentence{runnersSentence(env.Dir)}
	env.Must(os.Mkdir(filepath.Dir(s.file), 0o700))
	env.Must(
		os.Chmod(filepath.Dir(s.file), 0o777),
	) //nolint:gosec // runners have users of their own, and remove what they carry out
	return s
}

// runnersSentence is where it lies in a world's directory.
func runnersSentence(world string) string { return filepath.Join(world, "runners", "sentence") }

// Environment is what the gateway is to be started with.
func (s Sentence) Environment() string { return sentenceVariable + "=" + s.file }

// Pass has the gateway or the next runner kill itself, once, before or after it commits or does
// what begins with those words, or has that commit go unanswered.
func (s Sentence) Pass(when, what string) error {
	if err := os.WriteFile(
		s.file+".new",
		[]byte(when+" "+what),
		0o644,
	); err != nil { //nolint:gosec // a runner is another user
		return err
	}
	return os.Rename(s.file+".new", s.file)
}

// unanswered is the file that says that the next commit is the one whose answer is to be lost.
func (s Sentence) unanswered() string { return s.file + ".unanswered" }

// Fate is the storetest.Losing of the database of a gateway whose commits go unanswered. The
// gateway has the turn to write when it comes to such a commit: no other's comes between.
func (s Sentence) Fate(implied bool) storetest.Loss {
	if implied || os.Remove(s.unanswered()) != nil {
		return storetest.None
	}
	return storetest.Unanswered
}

// CarriedOut reports whether what was passed has been carried out.
func (s Sentence) CarriedOut() (bool, error) {
	for _, file := range []string{s.file, s.unanswered()} {
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return true, nil
}
