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
	maxLog   = 64 << 10 // bytes of all lines
	maxLine  = 4 << 10  // bytes of one line
	maxSteps = 20       // maximum number of steps whose logs are read; ours has one
)

// Logs returns the last lines of all steps, followed by Drone's own messages about their end. Drone
// has no log for steps that are running or were skipped.
// https://docs.drone.io/api/builds/build_logs/
func (c *client) Logs(ctx context.Context, repository string, number int64) ([]string, error) {
	b, err := c.build(ctx, repository, number)
	if err != nil {
		return nil, err
	}
	var lines, messages []string
	steps := 0
	for _, stage := range b.Stages {
		if stage == nil {
			continue
		}
		if stage.Error != "" {
			messages = append(messages, "Drone: "+truncated(stage.Error))
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
				messages = append(
					messages,
					strings.TrimSpace(
						fmt.Sprintf(
							"Drone: step %s ended with exit code %d %s",
							step.Name, step.ExitCode, truncated(step.Error),
						),
					),
				)
			}
		}
	}
	if b.Error != "" {
		messages = append(messages, "Drone: "+truncated(b.Error))
	}
	return append(lastLines(lines), lastLines(messages)...), nil
}

// lastLines returns at most maxLines of the last lines, and at most maxLog bytes.
func lastLines(lines []string) []string {
	from, size := len(lines), 0
	for from > 0 && len(lines)-from < maxLines {
		if size += len(lines[from-1]) + 1; size > maxLog {
			break
		}
		from--
	}
	return lines[from:]
}

func truncated(line string) string {
	return strings.TrimRight(strings.ToValidUTF8(line[:min(len(line), maxLine)], "?"), "\r\n")
}

func (c *client) stepLog(ctx context.Context, repository string, number int64, stage, step int) ([]string, error) {
	owner, name, err := split(repository)
	if err != nil {
		return nil, err
	}
	var printed []*drone.Line
	err = c.call(ctx, callTimeout, func(d drone.Client) (err error) {
		printed, err = d.Logs(owner, name, int(number), stage, step)
		return err
	})
	if errors.Is(err, autobuild.ErrNotFound) {
		return nil, nil
	}
	lines := make([]string, 0, len(printed))
	for _, line := range printed {
		if line != nil {
			lines = append(lines, truncated(line.Message))
		}
	}
	return lines, err
}
