// Package hints says what in a Dockerfile would have made a build faster, from its
// instructions and from what was run. It is pure.
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
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

const (
	maxHints = 5
	worth    = 3 * time.Second // a RUN that takes less has little to gain
)

// A Step is an instruction that a build came to, by BuildKit's name: "[build 2/5] RUN make".
type Step struct {
	Name   string
	Cached bool
	Took   time.Duration
}

// A Hint is one thing that would have helped.
type Hint struct {
	Line int // of the Dockerfile
	Text string
}

// Find returns up to five hints, from the top of the Dockerfile down. Of a Dockerfile that it
// cannot read, or steps that do not fit it, it says nothing.
func Find(dockerfile []byte, steps []Step) []Hint {
	file, err := parser.Parse(bytes.NewReader(dockerfile))
	if err != nil {
		return nil
	}
	stages, _, err := instructions.Parse(file.AST, nil)
	if err != nil {
		return nil
	}
	again := slices.ContainsFunc(steps, func(s Step) bool { return s.Cached })
	var found []Hint
	for i, stage := range stages {
		found = append(found, ofStage(commands(stage), ran(stages, i, steps), again)...)
	}
	slices.SortFunc(found, func(a, b Hint) int { return cmp.Compare(a.Line, b.Line) })
	return found[:min(maxHints, len(found))]
}

// commands are the instructions of a stage that BuildKit counts.
func commands(stage instructions.Stage) (all []instructions.Command) {
	for _, c := range stage.Commands {
		switch c.(type) {
		case *instructions.AddCommand, *instructions.CopyCommand, *instructions.RunCommand, *instructions.WorkdirCommand:
			all = append(all, c)
		}
	}
	return all
}

var stepName = regexp.MustCompile(`^\[(?:(.*) )?\s*(\d+)/(\d+)\] `)

// ran finds the steps of a stage by the index of its commands. BuildKit counts FROM as a step
// where that is an image, and names no stage where there is one alone.
func ran(stages []instructions.Stage, stage int, steps []Step) map[int]Step {
	name := stages[stage].Name
	if name == "" {
		name = "stage-" + strconv.Itoa(stage)
	}
	total := len(commands(stages[stage]))
	found := map[int]Step{}
	for _, s := range steps {
		m := stepName.FindStringSubmatch(s.Name)
		if m == nil {
			continue
		}
		prefix := strings.TrimSpace(m[1])
		index, _ := strconv.Atoi(m[2]) // digits alone
		of, _ := strconv.Atoi(m[3])
		ours := len(stages) == 1 || prefix == name || strings.HasSuffix(prefix, " "+name)
		if from := of - total; ours && from >= 0 && from <= 1 && index > from {
			found[index-from-1] = s
		}
	}
	return found
}

// ofStage looks at one stage. A build that found nothing in its cache is the first one, which
// nothing of this would have made faster.
func ofStage(commands []instructions.Command, ran map[int]Step, again bool) (found []Hint) {
	if !again {
		return nil
	}
	rerun, told := false, false // a RUN before; COPY --link, once for each stage
	for i, c := range commands {
		step, known := ran[i]
		if !known || step.Cached {
			continue
		}
		switch c := c.(type) {
		case *instructions.RunCommand:
			if h, ok := cacheMount(c, step); ok {
				found = append(found, h)
			}
			rerun = true
		case *instructions.CopyCommand:
			if rerun && !told && !c.Link {
				found, told = append(found, link(c, "COPY")), true
			}
		case *instructions.AddCommand:
			if rerun && !told && !c.Link {
				found, told = append(found, link(c, "ADD")), true
			}
		}
	}
	return found
}

func link(c instructions.Command, name string) Hint {
	return Hint{line(c), name + " ran again after a RUN before it did; " + name + " --link makes a layer of its own, which is kept while its files are the same"}
}

// A tool is a program that keeps what it fetched or built in a directory of the image: root's, for
// that is who RUN is where a Dockerfile does not say otherwise.
type tool struct {
	command *regexp.Regexp
	dir     string
}

// tools are of the documentation: https://docs.docker.com/build/cache/optimize/#use-cache-mounts.
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

func cacheMount(c *instructions.RunCommand, step Step) (Hint, bool) {
	text := c.String() + " " + strings.Join(c.CmdLine, " ")
	for _, f := range c.Files {
		text += " " + f.Data
	}
	if step.Took < worth || strings.Contains(text, "type=cache") {
		return Hint{}, false
	}
	for _, t := range tools() {
		if name := t.command.FindString(text); name != "" {
			name, _, _ = strings.Cut(name, "\n")
			return Hint{line(c), fmt.Sprintf("RUN ran again for %s; with --mount=type=cache on %s, %s does not begin anew", step.Took.Round(time.Second), t.dir, name)}, true
		}
	}
	return Hint{}, false
}

func line(c instructions.Command) int {
	if where := c.Location(); len(where) > 0 {
		return where[0].Start.Line
	}
	return 0
}
