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
	maxSteps = 20 // whose logs are read; ours has one
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
	for _, stage := range b.Stages {
		if stage.Error != "" {
			words = append(words, "Drone: "+stage.Error)
		}
		for i, step := range stage.Steps {
			if i == maxSteps {
				break
			}
			printed, err := c.stepLog(ctx, repository, b, stage.Number, step.Number)
			if err != nil {
				return nil, fmt.Errorf("log of step %s: %w", step.Name, err)
			}
			lines = append(lines, printed...)
			if step.Error != "" || step.ExitCode != 0 {
				words = append(words, strings.TrimSpace(fmt.Sprintf("Drone: step %s ended with exit code %d %s", step.Name, step.ExitCode, step.Error)))
			}
		}
	}
	if b.Error != "" {
		words = append(words, "Drone: "+b.Error)
	}
	return append(lines[max(0, len(lines)-maxLines):], words...), nil
}

func (c *client) stepLog(ctx context.Context, repository string, b *drone.Build, stage, step int) ([]string, error) {
	owner, name, err := split(repository)
	if err != nil {
		return nil, err
	}
	var printed []*drone.Line
	err = c.call(ctx, answerTime, func(d drone.Client) (err error) {
		printed, err = d.Logs(owner, name, int(b.Number), stage, step)
		return err
	})
	if errors.Is(err, autobuild.ErrNotFound) {
		return nil, nil
	}
	lines := make([]string, 0, len(printed))
	for _, line := range printed {
		lines = append(lines, strings.TrimRight(strings.ToValidUTF8(line.Message, "?"), "\r\n"))
	}
	return lines, err
}
