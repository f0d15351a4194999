// Package hints suggests changes to a Dockerfile that would have made a build faster. It compares the
// Dockerfile's instructions with the steps of the build, and does no I/O.
package hints

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

const (
	maxHints = 5
	minTime  = 3 * time.Second // a cache mount saves little in a RUN that takes less
)

// A Step is an instruction that a build reached.
type Step struct {
	Name   string // BuildKit's name, for example "[build 2/5] RUN make"
	Cached bool
	Took   time.Duration
}

// A Hint is one suggested change.
type Hint struct {
	Line int // line of the Dockerfile, from 1; 0 = unknown
	Text string
}

// Find returns up to five hints in the order of the Dockerfile's lines. It returns none if the
// Dockerfile does not parse or the steps do not match it.
func Find(dockerfile []byte, steps []Step) []Hint {
	file, err := parser.Parse(bytes.NewReader(dockerfile))
	if err != nil {
		return nil
	}
	// A "# check=" comment above an instruction changes the linter, which must not be nil.
	quiet := linter.New(&linter.Config{Warn: func(string, string, string, string, []parser.Range) {}})
	stages, _, err := instructions.Parse(file.AST, quiet)
	if err != nil {
		return nil
	}
	// A build without any cached step is the first one. No hint would have made it faster.
	if !slices.ContainsFunc(steps, func(s Step) bool { return s.Cached }) {
		return nil
	}
	var found []Hint
	for i, stage := range stages {
		found = append(found, stageHints(countedCommands(stage), stageSteps(stages, i, steps))...)
	}
	slices.SortFunc(found, func(a, b Hint) int { return cmp.Compare(a.Line, b.Line) })
	return found[:min(maxHints, len(found))]
}

// countedCommands returns the instructions of a stage that BuildKit counts as steps.
func countedCommands(stage instructions.Stage) (all []instructions.Command) {
	for _, c := range stage.Commands {
		switch c.(type) {
		case *instructions.AddCommand,
			*instructions.CopyCommand,
			*instructions.RunCommand,
			*instructions.WorkdirCommand:
			all = append(all, c)
		}
	}
	return all
}

// stepName matches BuildKit's names, for example "[build 2/5] RUN make" and "[linux/arm64 build 2/5] RUN
// make".
var stepName = regexp.MustCompile(`^\[(?:(.*) )?\s*(\d+)/(\d+)\] `)

// stageSteps returns the steps of a stage by the index of its command in countedCommands. BuildKit
// counts FROM as a step if it names an image, and omits the stage's name if there is only one stage.
func stageSteps(stages []instructions.Stage, stage int, steps []Step) map[int]Step {
	name := stages[stage].Name
	if name == "" {
		name = "stage-" + strconv.Itoa(stage)
	}
	total := len(countedCommands(stages[stage]))
	found := map[int]Step{}
	for _, s := range steps {
		m := stepName.FindStringSubmatch(s.Name)
		if m == nil {
			continue
		}
		prefix := strings.TrimSpace(m[1])
		index, _ := strconv.Atoi(m[2]) // the expression matches only digits
		count, _ := strconv.Atoi(m[3])
		matches := len(stages) == 1 || prefix == name || strings.HasSuffix(prefix, " "+name)
		if from := count - total; matches && from >= 0 && from <= 1 && index > from {
			found[index-from-1] = s
		}
	}
	return found
}

// stageHints returns the hints for one stage. They suggest a cache mount for each slow RUN that ran
// again, and --link for the first COPY or ADD after such a RUN.
func stageHints(commands []instructions.Command, steps map[int]Step) (found []Hint) {
	rerun := false    // an earlier RUN of the stage ran again
	linkHint := false // found has a hint about --link
	for i, c := range commands {
		step, known := steps[i]
		if !known || step.Cached {
			continue
		}
		switch c := c.(type) {
		case *instructions.RunCommand:
			if h, ok := newCacheHint(c, step); ok {
				found = append(found, h)
			}
			rerun = true
		case *instructions.CopyCommand:
			if rerun && !linkHint && !c.Link {
				found = append(found, newLinkHint(c, "COPY"))
				linkHint = true
			}
		case *instructions.AddCommand:
			if rerun && !linkHint && !c.Link {
				found = append(found, newLinkHint(c, "ADD"))
				linkHint = true
			}
		}
	}
	return found
}

func newLinkHint(c instructions.Command, name string) Hint {
	return Hint{line(c), name + " ran again because an earlier RUN did; " +
		name + " --link makes a layer of its own, which is kept while its files are the same"}
}

// A tool is a program that caches downloads or build results in a directory of the image. The directory
// dir is root's, because RUN runs as root unless the Dockerfile sets USER.
type tool struct {
	command *regexp.Regexp
	dir     string
}

// tools lists the tools of Docker's documentation:
// https://docs.docker.com/build/cache/optimize/#use-cache-mounts.
func tools() []tool {
	return []tool{
		{regexp.MustCompile(`\bgo (build|install|test|mod download)\b`), "/root/.cache/go-build and /go/pkg/mod"},
		{regexp.MustCompile(`\bnpm (ci|install|i)\b`), "/root/.npm"},
		{regexp.MustCompile(`\byarn( install)?\b`), "/usr/local/share/.cache/yarn"},
		{regexp.MustCompile(`\bpip3? install\b`), "/root/.cache/pip"},
		{regexp.MustCompile(`\bcargo (build|install)\b`), "/usr/local/cargo/registry and the target directory"},
		{regexp.MustCompile(`\bmvn\b`), "/root/.m2"},
		{regexp.MustCompile(`\bgradlew?\b`), "/root/.gradle"},
		{regexp.MustCompile(`\bcomposer install\b`), "/tmp/cache"},
		{regexp.MustCompile(`\bbundle install\b`), "/root/.gem"},
		{regexp.MustCompile(`\bdotnet restore\b`), "/root/.nuget/packages"},
		{regexp.MustCompile(`\bapt-get\b.*\binstall\b`), "/var/cache/apt and /var/lib/apt, with sharing=locked"},
	}
}

// newCacheHint returns a hint for a slow RUN that uses one of the tools without a cache mount.
func newCacheHint(c *instructions.RunCommand, step Step) (Hint, bool) {
	text := c.String() + " " + strings.Join(c.CmdLine, " ")
	for _, f := range c.Files {
		text += " " + f.Data
	}
	if step.Took < minTime || strings.Contains(text, "type=cache") {
		return Hint{}, false
	}
	for _, t := range tools() {
		if name := t.command.FindString(text); name != "" {
			name, _, _ = strings.Cut(name, "\n")
			return Hint{
				line(c),
				fmt.Sprintf("RUN ran again for %s; with --mount=type=cache on %s, %s would keep its files",
					step.Took.Round(time.Second), t.dir, name),
			}, true
		}
	}
	return Hint{}, false
}

// line returns the line of a command in the Dockerfile, from 1, or 0 if it is unknown.
func line(c instructions.Command) int {
	if ranges := c.Location(); len(ranges) > 0 {
		return ranges[0].Start.Line
	}
	return 0
}
