package pages

import (
	"fmt"
	"net/url"
	"sort"
	"strconv"
	"strings"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
)

// maxRows is the maximum number of rules, and of variables, in a form.
const maxRows = 50

// A draftForm is an automated build as entered in the form, unchanged.
type draftForm struct {
	Image, Engine string
	Tests         string // run or ignore
	Hooks, SkipCI string // on or off
	Rules         []ruleRow
	Environment   []envRow
	Duplicate     bool // the user wants another automated build of the same repository and image
}

// The values of choices with two options.
const (
	optionOn    = "on"
	optionOff   = "off"
	testsRun    = "run"
	testsIgnore = "ignore"
)

// A ruleRow is one rule of the form. Lists are text with one item per line.
type ruleRow struct {
	ID, SourceType, Source, Tags, Context, Dockerfile string
	Autobuild, Caching                                bool
	BuildArgs, Platforms, Paths                       string
}

// An envRow is one environment variable of the form. Stored values are not shown. An empty value
// keeps the stored value.
type envRow struct {
	Name   string
	Stored bool
	value  secret.Secret
}

func ruleRowOf(r autobuild.Rule) ruleRow {
	return ruleRow{
		ID:         r.ID,
		SourceType: string(r.SourceType),
		Source:     r.Source,
		Tags:       r.Tags,
		Context:    r.Context,
		Dockerfile: r.Dockerfile,
		Autobuild:  r.Autobuild,
		Caching:    r.Caching,
		BuildArgs:  pairLines(r.BuildArgs),
		Platforms:  strings.Join(r.Platforms, ", "),
		Paths:      strings.Join(r.Paths, "\n"),
	}
}

func pairLines(m map[string]string) string {
	var lines []string
	for name, value := range m {
		lines = append(lines, name+"="+value)
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// draftFormOf returns the form of a stored automated build.
func draftFormOf(a autobuild.AutomatedBuild) draftForm {
	f := draftForm{Image: a.Image, Engine: a.Engine, Tests: testsRun, Hooks: optionOn, SkipCI: optionOn}
	if a.TestsOff {
		f.Tests = testsIgnore
	}
	if a.HooksOff {
		f.Hooks = optionOff
	}
	if a.SkipCIOff {
		f.SkipCI = optionOff
	}
	for _, r := range a.Rules {
		f.Rules = append(f.Rules, ruleRowOf(r))
	}
	for name := range a.Environment {
		f.Environment = append(f.Environment, envRow{Name: name, Stored: true})
	}
	sort.Slice(f.Environment, func(i, j int) bool { return f.Environment[i].Name < f.Environment[j].Name })
	return f
}

// readDraftForm reads the posted form. Rows are numbered without gaps.
func readDraftForm(form url.Values) draftForm {
	f := draftForm{
		Image:     strings.TrimSpace(form.Get("image")),
		Engine:    form.Get("engine"),
		Tests:     form.Get("tests"),
		Hooks:     form.Get("hooks"),
		SkipCI:    form.Get("skip_ci"),
		Duplicate: form.Has("duplicate"),
	}
	for i := range maxRows {
		at := fmt.Sprintf("rules[%d].", i)
		if !form.Has(at + "source") {
			break
		}
		get := func(name string) string { return strings.TrimSpace(form.Get(at + name)) }
		f.Rules = append(f.Rules, ruleRow{
			ID:         get("id"),
			SourceType: get("source_type"),
			Source:     get("source"),
			Tags:       get("tags"),
			Context:    get("context"),
			Dockerfile: get("dockerfile"),
			Autobuild:  form.Has(at + "autobuild"),
			Caching:    form.Has(at + "caching"),
			BuildArgs:  get("build_args"),
			Platforms:  get("platforms"),
			Paths:      get("paths"),
		})
	}
	for i := range maxRows {
		at := fmt.Sprintf("environment[%d].", i)
		if !form.Has(at + "name") {
			break
		}
		f.Environment = append(f.Environment, envRow{
			Name:   strings.TrimSpace(form.Get(at + "name")),
			Stored: form.Has(at + "stored"),
			value:  secret.New(form.Get(at + "value")),
		})
	}
	return f
}

// change adds or removes a row if the user chose such a button, and reports whether it did. Then
// nothing is saved.
func (f *draftForm) change(form url.Values) bool {
	switch {
	case form.Has("add-rule"):
		f.Rules = append(
			f.Rules,
			ruleRow{
				SourceType: string(autobuild.Branch),
				Tags:       "{sourceref}",
				Context:    "/",
				Dockerfile: "Dockerfile",
				Autobuild:  true,
				Caching:    true,
			},
		)
		return true
	case form.Has("add-variable"):
		f.Environment = append(f.Environment, envRow{})
		return true
	case form.Has("remove-rule"):
		if i, err := strconv.Atoi(form.Get("remove-rule")); err == nil && i >= 0 && i < len(f.Rules) {
			f.Rules = append(f.Rules[:i], f.Rules[i+1:]...)
		}
		return true
	}
	return false
}

// rules returns the rules of the form. It adds invalid fields to invalid.
func (f draftForm) rules(invalid *faults) []autobuild.Rule {
	var all []autobuild.Rule
	for i, row := range f.Rules {
		args, err := parsePairs(row.BuildArgs)
		if err != nil {
			invalid.add(fmt.Sprintf("rules[%d].build_args", i), err.Error())
		}
		all = append(all, autobuild.Rule{
			ID:         row.ID,
			SourceType: autobuild.RefKind(row.SourceType),
			Source:     row.Source,
			Tags:       row.Tags,
			Context:    row.Context,
			Dockerfile: row.Dockerfile,
			Autobuild:  row.Autobuild,
			Caching:    row.Caching,
			BuildArgs:  args,
			Platforms:  splitWords(row.Platforms),
			Paths:      splitLines(row.Paths),
		})
	}
	return all
}

// environment returns the variables of the form. Rows without a name are ignored. It adds invalid
// fields to invalid.
func (f draftForm) environment(invalid *faults) map[string]secret.Secret {
	all := map[string]secret.Secret{}
	for i, row := range f.Environment {
		if row.Name == "" {
			continue
		}
		if row.value.IsZero() && !row.Stored {
			invalid.add(fmt.Sprintf("environment[%d].value", i), "enter the value of "+row.Name)
		}
		all[row.Name] = row.value
	}
	return all
}

func parsePairs(text string) (map[string]string, error) {
	var all map[string]string
	for _, line := range splitLines(text) {
		name, value, ok := strings.Cut(line, "=")
		if !ok || strings.TrimSpace(name) == "" {
			return nil, fmt.Errorf("write %q as NAME=value", line)
		}
		if all == nil {
			all = map[string]string{}
		}
		all[strings.TrimSpace(name)] = value
	}
	return all, nil
}

func splitLines(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" {
			all = append(all, line)
		}
	}
	return all
}

func splitWords(text string) []string {
	return strings.FieldsFunc(
		text,
		func(c rune) bool { return c == ',' || c == ' ' || c == '\n' || c == '\r' || c == '\t' },
	)
}
