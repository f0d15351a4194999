package attacktest

import (
	"net/url"
	"path"
	"slices"
	"strings"

	"slipway/plugin/demo/localenv"
)

// setRole sets the role of a person on the page People, if the page has roles.
func (e *env) setRole(p localenv.Person, role string) {
	e.T.Helper()
	e.Must(e.Browser.Visit(e.Context, "/settings/people"))
	for _, action := range e.Browser.Actions() {
		if path.Dir(action) != "/settings/people" || !e.Browser.RowContains(action, p.Name) {
			continue
		}
		// A gateway of another version may not know the role.
		if err := e.Browser.Submit(e.Context, action, url.Values{"role": {role}}); err != nil {
			e.T.Logf("role %s of %s: %v", role, p.Name, err)
		}
		return
	}
}

// endSessions ends a person's sessions on the page People. It reports whether the page has that button.
func (e *env) endSessions(p localenv.Person) (done bool) {
	e.T.Helper()
	e.Must(e.Browser.Visit(e.Context, "/settings/people"))
	for _, action := range e.Browser.Actions() {
		if slices.Contains(strings.Split(action, "/"), "sessions") && e.Browser.RowContains(action, p.Name) {
			e.Must(e.Browser.Submit(e.Context, action, nil))
			return true
		}
	}
	return false
}
