package buildkit

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"

	"slipway/runner/buildcontext"
	"slipway/runner/spec"
)

// maxRead bounds the part of a Dockerfile that is read to explain an error, in bytes.
const maxRead = 1 << 20

// An instruction is an instruction of a Dockerfile.
type instruction struct {
	name    string   // in upper case
	from    string   // value of --from; may be empty
	sources []string // the words but the last, and at least one
}

// reason returns a sentence for a common mistake in a Dockerfile, in place of BuildKit's text; "" = the error
// is another one. It reads the Dockerfile and the context again, and is a guess if they have changed.
func (r Request) reason(e *BuildError, runc string) string {
	if e.ExitCode != 0 { // the text of the error has the command, which may contain any text
		return runReason(e, runc)
	}
	text := e.Err.Error()
	if found := missingRight().FindStringSubmatch(text); found != nil {
		e.Right = found[1]
		return fmt.Sprintf("a RUN asks for the right %s (%s), and this build does not have it: remove that flag",
			e.Right, flagOf(e.Right))
	}
	if found := missingSource().FindStringSubmatch(text); found != nil {
		return r.missingReason(strings.TrimPrefix(found[1], "/"), e.Line)
	}
	if found := missingStage().FindStringSubmatch(text); found != nil {
		return fmt.Sprintf("no stage has the name %s (target): the stages are %s", found[1], r.stageList())
	}
	if image := unknownStage().FindStringSubmatch(text); image != nil {
		return r.stageReason(image[1], e)
	}
	return ""
}

// withReason adds the reason to an error that the Dockerfile causes. runc is the output of runc about a
// container that did not start; "" = none.
func (r Request) withReason(err error, runc string) error {
	var fault *BuildError
	if errors.As(err, &fault) && fault.Limit == "" {
		fault.Reason = r.reason(fault, runc)
	}
	return err
}

// missingSource matches BuildKit's error for a source of COPY or ADD that does not exist.
var missingSource = lazyRegexp(`failed to calculate checksum of ref \S+: "?([^"]+?)"?: not found`)

// missingStage matches BuildKit's error for a target that does not exist.
var missingStage = lazyRegexp(`target stage "([^"]+)" could not be found`)

// unknownStage matches BuildKit's error for an image of Docker Hub without an account in its name. It may be
// the misspelled name of a stage.
var unknownStage = lazyRegexp(`failed to resolve source metadata for docker\.io/library/([^:@/\s]+):latest: `)

// missingRight matches BuildKit's error for a RUN with a right that the client did not ask for. The error has no
// line of the Dockerfile.
// Source: https://github.com/moby/buildkit/blob/v0.34.2/util/entitlements/entitlements.go (Check)
var missingRight = lazyRegexp(`\b(network\.host|security\.insecure) is not allowed$`)

// flagOf returns the flag of RUN that asks for a right.
func flagOf(right string) string {
	if right == spec.AllowInsecure {
		return "--security=insecure"
	}
	return "--network=host"
}

// missingReason explains that a source of COPY or ADD is not there. The source is a path without a slash at
// its beginning.
func (r Request) missingReason(source string, line int) string {
	in := r.instructionAt(line)
	named := source
	for _, s := range in.sources { // the Dockerfile's own spelling, if there is one
		if strings.TrimPrefix(path.Clean("/"+s), "/") == source {
			named = s
		}
	}
	what := strings.TrimSpace(in.name + " " + named)
	if in.from != "" {
		return fmt.Sprintf("%s: %s has no file or directory /%s: check the path, and the steps that make it",
			what, in.from, source)
	}
	if strings.HasPrefix(path.Clean(named), "..") {
		return what + ": a source above the build context cannot be copied: set context to a directory that has it"
	}
	root, err := os.OpenRoot(r.Context) // no link of the repository shows the files outside
	if err != nil {
		return fmt.Sprintf("%s: the build context cannot be read: %v", what, err)
	}
	defer root.Close()
	if _, err := root.Lstat(source); err == nil {
		if pattern, file := r.ignoredBy(source); pattern != "" {
			return fmt.Sprintf("%s: the pattern %q in %s keeps it out of the build context: "+
				"remove the pattern, or add !%s below it", what, pattern, file, source)
		}
		return what + ": it is in the build context's directory, but the builder did not get it: check its permissions"
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Sprintf("%s: it cannot be read in the build context: %v", what, err)
	}
	reason := what + ": no such file or directory in the build context " + filepath.Base(r.Context)
	if other := otherCase(root.FS(), source); other != "" {
		return reason + "; there is " + other + ", in other letter case"
	}
	return reason + ": check the path, the setting context, and that it is committed or made by an earlier step"
}

// otherCase returns a path of the context that differs from a source in its letter case only, or "".
func otherCase(context fs.FS, source string) string {
	found := ""
	for part := range strings.SplitSeq(source, "/") {
		entries, err := fs.ReadDir(context, cmp.Or(found, "."))
		if err != nil {
			return ""
		}
		i := slices.IndexFunc(entries, func(e fs.DirEntry) bool { return strings.EqualFold(e.Name(), part) })
		if i < 0 {
			return ""
		}
		found = path.Join(found, entries[i].Name())
	}
	return found
}

// ignoredBy returns the last pattern that keeps a path out of the context, and the name of the file that has
// it. BuildKit uses the Dockerfile's own file of this kind in place of the context's.
// https://docs.docker.com/build/concepts/context/#dockerignore-files
func (r Request) ignoredBy(source string) (pattern, file string) {
	dir, err := buildcontext.Open(r.Context, nil)
	if err != nil {
		return "", ""
	}
	ignore, err := dir.ReadIgnore(r.Dockerfile)
	if err != nil {
		return "", ""
	}
	for _, one := range ignore.Patterns {
		bare, exception := strings.CutPrefix(one, "!")
		matches, err := patternmatcher.MatchesOrParentMatches(source, []string{bare})
		switch {
		case err != nil || !matches:
		case exception:
			pattern = ""
		default:
			pattern = one
		}
	}
	return pattern, ignore.Name
}

// stageReason explains that an image does not exist whose name looks like a stage's.
func (r Request) stageReason(name string, e *BuildError) string {
	in, stages := r.instructionAt(e.Line), r.stageList()
	use := in.name + " --from=" + name
	switch {
	case in.from == name:
	case in.name == "FROM" && slices.Contains(in.sources, name) && stages != noStages:
		use = "FROM " + name
	default:
		return ""
	}
	return fmt.Sprintf("%s: no stage above has this name (the stages are %s), and it is no image of Docker Hub: %s",
		use, stages, plainMessage(e.Err))
}

// noStages is in place of the names of stages, if none has a name.
const noStages = "without names"

// stageList returns the names of the Dockerfile's stages.
func (r Request) stageList() string {
	var names []string
	for _, node := range r.nodes() {
		words := wordsOf(node)
		if len(words) >= 3 && strings.EqualFold(node.Value, "FROM") && strings.EqualFold(words[len(words)-2], "AS") {
			names = append(names, words[len(words)-1])
		}
	}
	if names == nil {
		return noStages
	}
	return strings.Join(names, ", ")
}

// instructionAt returns the instruction at a line of the Dockerfile; a zero value if there is none.
func (r Request) instructionAt(line int) (in instruction) {
	for _, node := range r.nodes() {
		if line < node.StartLine || line > node.EndLine {
			continue
		}
		in.name = strings.ToUpper(node.Value)
		for _, flag := range node.Flags {
			if from, found := strings.CutPrefix(flag, "--from="); found {
				in.from = from
			}
		}
		if words := wordsOf(node); len(words) > 0 {
			in.sources = words[:max(1, len(words)-1)]
		}
	}
	return in
}

// nodes returns the instructions of the Dockerfile, or none if it cannot be read.
func (r Request) nodes() []*parser.Node {
	file, err := os.Open(r.Dockerfile)
	if err != nil {
		return nil
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxRead))
	if err != nil {
		return nil
	}
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return nil
	}
	return parsed.AST.Children
}

// wordsOf returns the words of an instruction, without its name and flags.
func wordsOf(node *parser.Node) (words []string) {
	for n := node.Next; n != nil; n = n.Next {
		words = append(words, n.Value)
	}
	return words
}

// Exit codes of a shell. https://www.gnu.org/software/bash/manual/html_node/Exit-Status.html
const (
	exitNotExecutable = 126
	exitNotFound      = 127
)

// noProgram matches runc's errors for a program that the image does not have.
var noProgram = lazyRegexp(
	`exec: "([^"]+)": (?:stat \S+: no such file or directory|executable file not found in \$PATH)`,
)

// runReason explains a RUN step that failed, by its exit code and the output of runc.
func runReason(e *BuildError, runc string) string {
	if found := noProgram().FindStringSubmatch(runc); found != nil {
		return fmt.Sprintf("the image has no program %s: install it in an earlier step, use a base image that has it, "+
			"or write RUN as a JSON list", found[1])
	}
	switch e.ExitCode {
	case exitNotFound:
		return plainMessage(e.Err) + ": the shell found no such command or file: install it, check its path, " +
			"and check that a script has Unix line ends and that its interpreter exists"
	case exitNotExecutable:
		return plainMessage(e.Err) + ": the file may not be run: set its mode (chmod +x, or COPY --chmod=755)"
	}
	return ""
}
