// Package rulesfile reads and writes the rules file: automated builds as YAML, one document
// each. It is strict, so that a misspelled key is an error with its line and not a setting
// without effect. Values of environment variables never stand in it.
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
	// MaxSize is the largest file that is read, in bytes.
	MaxSize = 1 << 20
	// MaxDocuments is how many automated builds a file may hold.
	MaxDocuments = 1000

	version = 1
)

// A Document is one automated build of a file. Of its repository only the full name is known,
// and of its environment only the names: their values are empty.
type Document struct {
	Provider string // a source provider's name; may be empty
	Build    autobuild.AutomatedBuild
	Line     int // where the document begins; 0 when it was not read from a file
}

// A document is the file's form.
type document struct {
	Version     int    `yaml:"version"`
	Provider    text   `yaml:"provider,omitempty"`
	Repository  text   `yaml:"repository,omitempty"`
	Image       text   `yaml:"image,omitempty"`
	Engine      text   `yaml:"engine,omitempty"`
	Autotest    text   `yaml:"autotest,omitempty"`
	Environment []text `yaml:"environment,omitempty,flow"`
	Rules       []rule `yaml:"rules"`
}

// A rule has pointers where an absent key means something else than an empty value.
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

// Decode reads all documents of a file; empty ones do not count. Errors say the line.
// Whether the rules make sense is rules.Check's to say.
func Decode(r io.Reader) ([]Document, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read rules file: %w", err)
	}
	if len(text) > MaxSize {
		return nil, fmt.Errorf("the rules file is larger than %d bytes", MaxSize)
	}
	parts, err := split(text)
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

// noun turns the file's form into the gateway's, defaults filled in.
func (d document) noun() (Document, error) {
	if d.Version != version {
		return Document{}, fmt.Errorf("version: %d is not known, this Slipway reads %d", d.Version, version)
	}
	autotest := autobuild.Autotest(d.Autotest)
	switch autotest {
	case "":
		autotest = autobuild.AutotestOff
	case autobuild.AutotestOff, autobuild.AutotestInternal, autobuild.AutotestAll:
	default:
		return Document{}, fmt.Errorf("autotest: %q is none of off, internal and all", d.Autotest)
	}
	build := autobuild.AutomatedBuild{
		Repository: autobuild.Repository{FullName: string(d.Repository)},
		Image:      string(d.Image),
		Engine:     string(d.Engine),
		Autotest:   autotest,
	}
	for _, name := range d.Environment {
		if build.Environment == nil {
			build.Environment = map[string]secret.Secret{}
		}
		build.Environment[string(name)] = secret.Secret{}
	}
	for _, r := range d.Rules {
		build.Rules = append(build.Rules, r.noun())
	}
	return Document{Provider: string(d.Provider), Build: build}, nil
}

func (r rule) noun() autobuild.Rule {
	noun := autobuild.Rule{
		ID:         string(r.ID),
		SourceType: autobuild.RefKind(r.SourceType),
		Source:     string(r.Source),
		Tags:       string(r.Tags),
		Context:    string(or(r.Context, "/")),
		Dockerfile: string(or(r.Dockerfile, "Dockerfile")),
		Autobuild:  or(r.Autobuild, true),
		Caching:    or(r.Caching, true),
		Platforms:  plainStrings(r.Platforms),
		Paths:      plainStrings(r.Paths),
	}
	for name, value := range r.BuildArgs {
		if noun.BuildArgs == nil {
			noun.BuildArgs = map[string]string{}
		}
		noun.BuildArgs[name] = string(value)
	}
	return noun
}

func or[T any](p *T, absent T) T {
	if p == nil {
		return absent
	}
	return *p
}

// Encode writes documents so that Decode reads the same again.
func Encode(w io.Writer, documents []Document) error {
	var out bytes.Buffer
	for i, d := range documents {
		if i > 0 {
			out.WriteString("---\n")
		}
		form, err := yaml.MarshalWithOptions(formOf(d), yaml.IndentSequence(true))
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

func formOf(d Document) document {
	f := document{
		Version:     version,
		Provider:    text(d.Provider),
		Repository:  text(d.Build.Repository.FullName),
		Image:       text(d.Build.Image),
		Engine:      text(d.Build.Engine),
		Autotest:    text(d.Build.Autotest),
		Environment: texts(slices.Sorted(maps.Keys(d.Build.Environment))),
		Rules:       []rule{},
	}
	if f.Autotest == "" {
		f.Autotest = text(autobuild.AutotestOff)
	}
	for _, r := range d.Build.Rules {
		f.Rules = append(f.Rules, ruleForm(r))
	}
	return f
}

func ruleForm(r autobuild.Rule) rule {
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
