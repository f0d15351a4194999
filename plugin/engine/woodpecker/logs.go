package woodpecker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	maxLines = 200
	maxBytes = 64 << 10 // bytes of all lines
	maxSteps = 20       // maximum number of steps whose logs are read; ours has one
)

// Logs returns the last lines of all steps, followed by Woodpecker's own messages about their end.
// https://woodpecker-ci.org/api (Pipeline logs)
func (c *client) Logs(ctx context.Context, repository string, number int64) ([]string, error) {
	r, found, err := c.run(ctx, repository, number)
	if err != nil {
		return nil, err
	}
	var lines, words []string
	for _, w := range found.Workflows {
		if w.Error != "" {
			words = append(words, "Woodpecker: "+w.Error)
		}
		for i, step := range w.Children {
			if i == maxSteps {
				break
			}
			printed, err := c.stepLog(ctx, r, number, step.ID)
			switch {
			case errors.Is(err, errTooLong):
				printed = []string{fmt.Sprintf("(the output of step %s is too long to show)", step.Name)}
			case err != nil:
				return nil, fmt.Errorf("log of step %s: %w", step.Name, err)
			}
			lines = append(lines, printed...)
			if step.Error != "" || step.ExitCode != 0 {
				words = append(
					words,
					strings.TrimSpace(
						fmt.Sprintf(
							"Woodpecker: step %s ended with exit code %d %s",
							step.Name, step.ExitCode, step.Error,
						),
					),
				)
			}
		}
	}
	for _, fault := range found.faults() {
		words = append(words, "Woodpecker: "+fault)
	}
	return append(lastLines(lines), words...), nil
}

// lastLines returns at most maxLines of the last lines, and at most maxBytes.
func lastLines(lines []string) []string {
	lines = lines[max(0, len(lines)-maxLines):]
	size := 0
	for i, line := range slices.Backward(lines) {
		if size += len(line); size > maxBytes {
			return lines[i+1:]
		}
	}
	return lines
}

// stepLog returns a step's lines. The body is null if the step printed nothing, and data is null
// for an empty line.
func (c *client) stepLog(ctx context.Context, r repo, number, step int64) ([]string, error) {
	var entries []struct {
		Data []byte `json:"data"` // base64
		Type int    `json:"type"` // 0 = standard output, 1 = standard error; above 1 = not output
	}
	if err := c.get(ctx, fmt.Sprintf("/api/repos/%d/logs/%d/%d", r.ID, number, step), &entries); err != nil {
		return nil, err
	}
	lines := make([]string, 0, len(entries))
	for _, e := range entries {
		if e.Type > 1 {
			continue
		}
		lines = append(lines, strings.TrimRight(strings.ToValidUTF8(string(e.Data), "?"), "\r\n"))
	}
	return lines, nil
}
