package demotest

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v3"

	"slipway/config"
	"slipway/plugin"
	"slipway/runner"
	"slipway/runner/settings"
)

// mortals are the commands that die where a Sentence says, if there is one for this process.
func mortals() (commands []*cli.Command) {
	if file := os.Getenv(sentenceVariable); file != "" {
		commands = append(commands, &cli.Command{Name: "gateway", Action: Sentence{file}.gateway})
	}
	// The engine alone decides about a runner's environment: what is for runners lies where they
	// find it, and is for first attempts, so that the further one lives.
	work := os.Getenv("SLIPWAY_WORKDIR")
	if dir, _ := filepath.Split(
		runnersSentence(filepath.Join(work, "../../..")),
	); strings.HasSuffix(work, "-1") &&
		isDir(dir) {
		commands = append(
			commands,
			&cli.Command{Name: "runner", Action: Sentence{filepath.Join(dir, "sentence")}.runner},
		)
	}
	return commands
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// gateway is `slipway gateway` that may die at each commit.
func (s Sentence) gateway(ctx context.Context, cmd *cli.Command) error {
	c, err := config.LoadGateway(os.Environ())
	if err != nil {
		return err
	}
	log := logrus.New()
	log.SetOutput(cmd.Root().ErrWriter)
	log.SetFormatter(&logrus.JSONFormatter{})
	g, err := plugin.New(ctx, plugin.Options{Config: c, Log: log, Commit: s.carryOut})
	if err != nil {
		return err
	}
	return g.Run(ctx)
}

// runner is `slipway runner` that may die at each step.
func (s Sentence) runner(ctx context.Context, cmd *cli.Command) error {
	own, err := settings.Read(settings.OS{})
	if err != nil {
		return err
	}
	return runner.Run(ctx, runner.Options{Settings: own, Output: cmd.Root().Writer, Step: s.carryOut})
}

// carryOut does at one of these places what the sentence says, if it is the one that it names.
func (s Sentence) carryOut(what string, done bool) {
	text, err := os.ReadFile(s.file)
	if err != nil {
		return
	}
	when, where, _ := strings.Cut(string(text), " ")
	switch {
	case !strings.HasPrefix(what+" ", where+" "):
	case when == Unanswered && !done:
		_ = os.Rename(s.file, s.unanswered()) // another process did it where this fails
	case when == Before && !done, when == After && done:
		if os.Remove(s.file) != nil {
			return
		}
		// As a crash: nothing is deferred, nothing flushed.
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		syscall.Exit(1) // the first process of a PID namespace, as an embedded runner is, cannot kill itself
	}
}
