// Package rulesfile reads and writes the rules file: automated builds as YAML, one document each. An
// unknown key is an error with its line, so that a misspelled setting is not ignored. The file never
// contains values of environment variables.
package rulesfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/goccy/go-yaml"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
)

const (
	// MaxSize is the size limit of a file, in bytes.
	MaxSize = 1 << 20
	// MaxDocuments is the maximum number of automated builds in a file.
	MaxDocuments = 1000

	version = 1
)

// A Document is one automated build of a file. Its repository has only a full name, and the values
// of its environment are empty.
type Document struct {
	Provider string // a source provider's name; may be empty
	Build    autobuild.AutomatedBuild
	Line     int // where the document starts; 0 if it was not read from a file
}

// A document is a Document in the form of the file.
type document struct {
	Version     int    `yaml:"version"`
	Provider    text   `yaml:"provider,omitempty"`
	Repository  text   `yaml:"repository,omitempty"`
	Image       text   `yaml:"image,omitempty"`
	Engine      text   `yaml:"engine,omitempty"`
	Autotest    text   `yaml:"autotest,omitempty"`
	Tests       text   `yaml:"tests,omitempty"`
	Hooks       text   `yaml:"hooks,omitempty"`
	SkipCI      *bool  `yaml:"skip_ci,omitempty"`
	Environment []text `yaml:"environment,omitempty,flow"`
	Rules       []rule `yaml:"rules"`
}

// The values of the keys hooks and tests. The first of each is the default.
const (
	hooksOn  = "on"
	hooksOff = "off"

	testsRun    = "run"
	testsIgnore = "ignore"
)

// A rule is a build rule in the form of the file. Pointers distinguish a missing key from an empty
// value.
type rule struct {
	ID         text            `yaml:"id,omitempty"`
	SourceType text            `yaml:"source_type"`
	Source     text            `yaml:"source"`
	Tags       text            `yaml:"tags"`
	Context    *text           `yaml:"context,omitempty"`
	Dockerfile *text           `yaml:"dockerfile,omitempty"`
	Autobuild  *bool           `yaml:"autobuild,omitempty"`
	Caching    *bool           `yaml:"caching,omitempty"`
	BuildArgs  map[string]text `yaml:"build_args,omitempty"`
	Platforms  []text          `yaml:"platforms,omitempty,flow"`
	Paths      []text          `yaml:"paths,omitempty,flow"`
}

// byteOrderMark begins files that some editors on Windows save.
const byteOrderMark = "\ufeff"

// Decode reads all documents of a file and ignores empty ones. Errors contain the line. It does not
// validate the rules; see rules.Check.
func Decode(r io.Reader) ([]Document, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read rules file: %w", err)
	}
	if len(text) > MaxSize {
		return nil, fmt.Errorf("the rules file is larger than %d bytes", MaxSize)
	}
	parts, err := split(bytes.TrimPrefix(text, []byte(byteOrderMark)))
	if err != nil {
		return nil, err
	}
	if len(parts) == 0 {
		return nil, errors.New("the rules file is empty")
	}
	documents := make([]Document, 0, len(parts))
	for _, p := range parts {
		d, err := p.decode()
		if err != nil {
			return nil, err
		}
		documents = append(documents, d)
	}
	return documents, nil
}

// toDocument converts a document of the file and fills in defaults.
func (d document) toDocument() (Document, error) {
	if d.Version != version {
		return Document{}, fmt.Errorf("version: %d is unknown: use version: %d", d.Version, version)
	}
	if err := checkAutotest(d.Autotest); err != nil {
		return Document{}, err
	}
	if d.Tests != "" && d.Tests != testsRun && d.Tests != testsIgnore {
		return Document{}, fmt.Errorf("tests: %q is unknown: choose run or ignore", d.Tests)
	}
	if d.Hooks != "" && d.Hooks != hooksOn && d.Hooks != hooksOff {
		return Document{}, fmt.Errorf("hooks: %q is unknown: choose on or off", d.Hooks)
	}
	build := autobuild.AutomatedBuild{
		Repository: autobuild.Repository{FullName: string(d.Repository)},
		Image:      string(d.Image),
		Engine:     string(d.Engine),
		Autotest:   autobuild.AutotestOff,
		HooksOff:   d.Hooks == hooksOff,
		TestsOff:   d.Tests == testsIgnore,
		SkipCIOff:  !valueOr(d.SkipCI, true),
	}
	for _, name := range d.Environment {
		if build.Environment == nil {
			build.Environment = map[string]secret.Secret{}
		}
		build.Environment[string(name)] = secret.Secret{}
	}
	for _, r := range d.Rules {
		build.Rules = append(build.Rules, r.toRule())
	}
	return Document{Provider: string(d.Provider), Build: build}, nil
}

// checkAutotest accepts only off, because this version does not test pull requests.
func checkAutotest(value text) error {
	switch autobuild.Autotest(value) {
	case "", autobuild.AutotestOff:
		return nil
	case autobuild.AutotestInternal, autobuild.AutotestAll:
		return fmt.Errorf(
			"autotest: %s is not offered, because this version does not test pull requests: "+
				"set autotest: off, or leave it out",
			value,
		)
	}
	return fmt.Errorf("autotest: %q is unknown: set autotest: off, or leave it out", value)
}

func (r rule) toRule() autobuild.Rule {
	out := autobuild.Rule{
		ID:         string(r.ID),
		SourceType: autobuild.RefKind(r.SourceType),
		Source:     string(r.Source),
		Tags:       string(r.Tags),
		Context:    string(valueOr(r.Context, "/")),
		Dockerfile: string(valueOr(r.Dockerfile, "Dockerfile")),
		Autobuild:  valueOr(r.Autobuild, true),
		Caching:    valueOr(r.Caching, true),
		Platforms:  plainStrings(r.Platforms),
		Paths:      plainStrings(r.Paths),
	}
	for name, value := range r.BuildArgs {
		if out.BuildArgs == nil {
			out.BuildArgs = map[string]string{}
		}
		out.BuildArgs[name] = string(value)
	}
	return out
}

// valueOr returns *p, or the default if p is nil.
func valueOr[T any](p *T, defaultValue T) T {
	if p == nil {
		return defaultValue
	}
	return *p
}

// Encode writes documents. Decode returns the same documents, except that a stored autotest setting is
// written as off, as it is applied.
func Encode(w io.Writer, documents []Document) error {
	var out bytes.Buffer
	for i, d := range documents {
		if i > 0 {
			out.WriteString("---\n")
		}
		form, err := yaml.MarshalWithOptions(newDocument(d), yaml.IndentSequence(true))
		if err != nil {
			return fmt.Errorf("write rules of %s: %w", d.Build.Repository.FullName, err)
		}
		out.Write(form)
	}
	if _, err := w.Write(out.Bytes()); err != nil {
		return fmt.Errorf("write rules file: %w", err)
	}
	return nil
}

func newDocument(d Document) document {
	f := document{
		Version:     version,
		Provider:    text(d.Provider),
		Repository:  text(d.Build.Repository.FullName),
		Image:       text(d.Build.Image),
		Engine:      text(d.Build.Engine),
		Autotest:    text(autobuild.AutotestOff),
		Environment: texts(slices.Sorted(maps.Keys(d.Build.Environment))),
		Rules:       []rule{},
	}
	if d.Build.HooksOff {
		f.Hooks = hooksOff
	}
	if d.Build.TestsOff {
		f.Tests = testsIgnore
	}
	if d.Build.SkipCIOff {
		off := false
		f.SkipCI = &off
	}
	for _, r := range d.Build.Rules {
		f.Rules = append(f.Rules, newRule(r))
	}
	return f
}

func newRule(r autobuild.Rule) rule {
	context, dockerfile := text(r.Context), text(r.Dockerfile)
	form := rule{
		ID:         text(r.ID),
		SourceType: text(r.SourceType),
		Source:     text(r.Source),
		Tags:       text(r.Tags),
		Context:    &context,
		Dockerfile: &dockerfile,
		Autobuild:  &r.Autobuild,
		Caching:    &r.Caching,
		Platforms:  texts(r.Platforms),
		Paths:      texts(r.Paths),
	}
	for name, value := range r.BuildArgs {
		if form.BuildArgs == nil {
			form.BuildArgs = map[string]text{}
		}
		form.BuildArgs[name] = text(value)
	}
	return form
}
