package catalog

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/rules"
	"slipway/runner/registry"
	"slipway/runner/spec"
)

const (
	maxVariables = 100
	maxValue     = 32 << 10 // bytes of one variable's value
)

// A Draft is an automated build as somebody wants it.
type Draft struct {
	AccountID   string
	Repository  string // full name
	Image       string // registry/name without a tag; without a registry it is Docker Hub's
	Engine      string // empty = the default
	Autotest    autobuild.Autotest
	Environment map[string]secret.Secret // a zero value keeps what is stored
	Rules       []autobuild.Rule         // none = the default rule
	UserID      string                   // who types
	Viewer      autobuild.Viewer         // whose rights decide which other repositories warnings name
}

// A Saved is what became of a draft.
type Saved struct {
	autobuild.AutomatedBuild
	Hook     autobuild.Hook
	Warnings []string // what may surprise, a sentence each
}

// check fills defaults in and finds all faults at once. before is what is stored already.
func (c *Catalog) check(
	d Draft,
	r autobuild.Repository,
	before autobuild.AutomatedBuild,
) (autobuild.AutomatedBuild, []string, error) {
	var faults []autobuild.FieldError
	fault := func(field, format string, args ...any) {
		faults = append(faults, autobuild.FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	a := before
	a.AccountID, a.Repository, a.Engine, a.Autotest, a.Rules = d.AccountID, r, d.Engine, d.Autotest, d.Rules
	var err error
	if a.Image, err = registry.ParseImage(strings.TrimSpace(d.Image)); err != nil {
		fault("image", "%s", err)
	}
	if a.Engine == "" {
		a.Engine = c.o.DefaultEngine
	}
	if a.Engine != c.o.DefaultEngine && !slices.Contains(c.o.Engines, a.Engine) {
		fault("engine", "%q is not configured here", a.Engine)
	}
	switch a.Autotest {
	case "":
		a.Autotest = autobuild.AutotestOff
	case autobuild.AutotestOff, autobuild.AutotestInternal, autobuild.AutotestAll:
	default:
		fault("autotest", "%q is none of off, internal and all", a.Autotest)
	}
	if len(a.Rules) == 0 {
		if r.DefaultBranch == "" {
			fault("rules", "%s has no branch yet to make the default rule from: give a rule", r.FullName)
		} else {
			a.Rules = []autobuild.Rule{autobuild.DefaultRule(r.DefaultBranch)}
		}
	}
	found, warnings := rules.Check(a.Rules)
	faults = append(faults, found...)
	a.Environment, found = environment(d.Environment, before.Environment)
	faults = append(faults, found...)
	if len(faults) > 0 {
		return autobuild.AutomatedBuild{}, nil, &Invalid{Fields: faults}
	}
	return a, warnings, nil
}

// environment checks variables and keeps the stored value of those that were given none.
func environment(given, stored map[string]secret.Secret) (map[string]secret.Secret, []autobuild.FieldError) {
	if len(given) > maxVariables {
		return nil, []autobuild.FieldError{
			{
				Field:   "environment",
				Message: fmt.Sprintf("%d variables, at most %d are allowed", len(given), maxVariables),
			},
		}
	}
	var faults []autobuild.FieldError
	merged := make(map[string]secret.Secret, len(given))
	for _, name := range slices.Sorted(maps.Keys(given)) {
		value := given[name]
		err := spec.CheckVariable(name, value.Reveal())
		if err == nil && len(value.Reveal()) > maxValue {
			err = fmt.Errorf("the value of %s is longer than %d bytes", name, maxValue)
		}
		if err != nil {
			faults = append(faults, autobuild.FieldError{Field: "environment", Message: err.Error()})
		}
		if value.IsZero() {
			value = stored[name]
		}
		merged[name] = value
	}
	return merged, faults
}
