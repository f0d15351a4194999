package drone

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/drone/drone-go/drone"

	"slipway/plugin/autobuild"
)

const (
	maxLines = 200
	maxLog   = 64 << 10 // bytes of all of them
	maxLine  = 4 << 10  // bytes of one
	maxSteps = 20       // whose logs are read; ours has one
)

// Logs returns the last lines of all steps, then what Drone itself says of their end. Drone
// has no log of a step that runs or was skipped.
// https://docs.drone.io/api/builds/build_logs/
func (c *client) Logs(ctx context.Context, repository string, number int64) ([]string, error) {
	b, err := c.build(ctx, repository, number)
	if err != nil {
		return nil, err
	}
	var lines, words []string
	steps := 0
	for _, stage := range b.Stages {
		if stage == nil {
			continue
		}
		if stage.Error != "" {
			words = append(words, "Drone: "+shortened(stage.Error))
		}
		for _, step := range stage.Steps {
			if steps++; step == nil || steps > maxSteps {
				continue
			}
			printed, err := c.stepLog(ctx, repository, b.Number, stage.Number, step.Number)
			if err != nil {
				return nil, fmt.Errorf("log of step %s: %w", step.Name, err)
			}
			lines = append(lines, printed...)
			if step.Error != "" || step.ExitCode != 0 {
				words = append(words, strings.TrimSpace(fmt.Sprintf("Drone: step %s ended with exit code %d %s", step.Name, step.ExitCode, shortened(step.Error))))
			}
		}
	}
	if b.Error != "" {
		words = append(words, "Drone: "+shortened(b.Error))
	}
	return append(last(lines), last(words)...), nil
}

// last returns as many of the last lines as are kept.
func last(lines []string) []string {
	from, size := len(lines), 0
	for from > 0 && len(lines)-from < maxLines {
		if size += len(lines[from-1]) + 1; size > maxLog {
			break
		}
		from--
	}
	return lines[from:]
}

func shortened(line string) string {
	return strings.TrimRight(strings.ToValidUTF8(line[:min(len(line), maxLine)], "?"), "\r\n")
}

func (c *client) stepLog(ctx context.Context, repository string, number int64, stage, step int) ([]string, error) {
	owner, name, err := split(repository)
	if err != nil {
		return nil, err
	}
	var printed []*drone.Line
	err = c.call(ctx, answerTime, func(d drone.Client) (err error) {
		printed, err = d.Logs(owner, name, int(number), stage, step)
		return err
	})
	if errors.Is(err, autobuild.ErrNotFound) {
		return nil, nil
	}
	lines := make([]string, 0, len(printed))
	for _, line := range printed {
		if line != nil {
			lines = append(lines, shortened(line.Message))
		}
	}
	return lines, err
}
