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
	maxValue     = 32 << 10 // of one variable, in bytes
)

// A Draft is an automated build as entered in a form, before validation.
type Draft struct {
	AccountID   string
	Repository  string // full name
	Image       string // registry/name without a tag; without a registry it is on Docker Hub
	Engine      string // empty means the default
	HooksOff    bool
	TestsOff    bool
	SkipCIOff   bool
	Environment map[string]secret.Secret // a zero value keeps the stored value
	Rules       []autobuild.Rule         // empty means the default rule
	Duplicate   bool                     // store it also if the repository has an automated build with this image
	UserID      string                   // the user who saves
	Viewer      autobuild.Viewer         // limits the repositories that warnings name
}

// A Saved is the stored automated build of a draft.
type Saved struct {
	autobuild.AutomatedBuild
	Hook     autobuild.Hook
	Warnings []string // possible problems, one sentence each
}

// check validates a draft and fills in defaults. It reports all invalid fields at once. before is
// the stored automated build; it is zero for a new one.
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
	a.AccountID = d.AccountID
	a.Repository = r
	a.Engine = d.Engine
	a.HooksOff = d.HooksOff
	a.TestsOff = d.TestsOff
	a.SkipCIOff = d.SkipCIOff
	a.Rules = d.Rules
	var err error
	a.Image, err = registry.ParseImage(strings.TrimSpace(d.Image))
	if err != nil {
		fault("image", "%s", err)
	}
	if a.Engine == "" {
		a.Engine = c.o.DefaultEngine
	}
	if a.Engine != c.o.DefaultEngine && !slices.Contains(c.o.Engines, a.Engine) {
		fault("engine", "%q is not configured here", a.Engine)
	}
	if a.Autotest == "" { // a stored setting is kept for a version that tests pull requests
		a.Autotest = autobuild.AutotestOff
	}
	if len(a.Rules) == 0 {
		if r.DefaultBranch == "" {
			fault("rules", "%s has no branch for the default rule yet: add a rule", r.FullName)
		} else {
			a.Rules = []autobuild.Rule{autobuild.DefaultRule(r.DefaultBranch)}
		}
	}
	found, warnings := rules.Check(a.Rules)
	faults = append(faults, found...)
	a.Environment, found = checkEnvironment(d.Environment, before.Environment)
	faults = append(faults, found...)
	if len(faults) > 0 {
		return autobuild.AutomatedBuild{}, nil, &Invalid{Fields: faults}
	}
	return a, warnings, nil
}

// checkEnvironment validates variables. A variable without a value keeps its stored value.
func checkEnvironment(given, stored map[string]secret.Secret) (map[string]secret.Secret, []autobuild.FieldError) {
	if len(given) > maxVariables {
		return nil, []autobuild.FieldError{
			{
				Field:   "environment",
				Message: fmt.Sprintf("%d variables: at most %d are allowed", len(given), maxVariables),
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
