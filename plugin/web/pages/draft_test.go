package pages_test

import (
	"net/http"
	"strings"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/catalog"
	"slipway/plugin/web/pages/pagestest"
)

// The choices of test files and of [skip ci] are kept in the form, stored, and shown.
func TestADraftIgnoresTestFilesAndSkipCI(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	create := "/automated-builds/new"
	form := s.post(t, autobuild.RoleAdmin, create, draft(s, "tests", "ignore", "skip_ci", "off", "add-rule", "1")...)
	saved := s.post(t, autobuild.RoleAdmin, create, draft(s, "tests", "ignore", "skip_ci", "off", "then", "save")...)
	page, _, _ := strings.Cut(saved.Header.Get("Location"), "?")
	s.get(t, autobuild.RoleAdmin, page).
		want(t, http.StatusOK, "Test files ignored", "[skip ci] off: every commit is built")
	for name, r := range map[string]reply{"sent": form, "stored": s.get(t, autobuild.RoleAdmin, page+"/edit")} {
		if got := r.value(t, "tests"); got != "ignore" {
			t.Errorf("%s choice of test files: got %q, want ignore", name, got)
		}
		if got := r.value(t, "skip_ci"); got != "off" {
			t.Errorf("%s choice of [skip ci]: got %q, want off", name, got)
		}
	}
}

// This version tests no pull requests, so no form offers it. A stored setting is kept and shown as off.
func TestAutotestIsNotOffered(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	page := "/automated-builds/" + s.App.ID
	s.get(t, autobuild.RoleAdmin, page).want(t, http.StatusOK, "Autotest off (stored: internal;")
	form := s.get(t, autobuild.RoleAdmin, page+"/edit")
	for _, control := range find(form.Page, "select", "input") {
		if attr(control, "name") == "autotest" {
			t.Error("control autotest: got one, want none")
		}
	}
}

func TestASecondAutomatedBuildOfAnImageIsAQuestion(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	create := "/automated-builds/new"
	again := draft(s, "repository", "acme/app", "image", "registry.example.com/acme/app")
	asked := s.post(t, autobuild.RoleAdmin, create, again...)
	asked.want(t, http.StatusUnprocessableEntity, "Do you want another one?", "each push then builds the image twice")
	checkPage(t, asked)
	if asked.value(t, "duplicate") != "" {
		t.Error("choice of a duplicate: got it chosen, want it left to the user")
	}
	s.post(t, autobuild.RoleAdmin, create, append(again, "duplicate", "yes")...).want(t, http.StatusSeeOther)
}

// An invalid platform is shown at the field of the list.
func TestAnInvalidItemIsShownAtItsField(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	s.Services.Fail(&catalog.Invalid{Fields: []autobuild.FieldError{
		{Field: "rules[0].platforms[1]", Message: "windows/foo cannot be built"},
	}})
	wrong := s.post(t, autobuild.RoleAdmin, "/automated-builds/new", draft(s)...)
	wrong.want(t, http.StatusUnprocessableEntity, "Windows/foo cannot be built.")
	checkPage(t, wrong)
	if got := attr(byID(wrong.Page, "rules-0-platforms"), "aria-invalid"); got != "true" {
		t.Errorf("field of the platforms: got aria-invalid %q, want true", got)
	}
	if byID(wrong.Page, "rules") != nil {
		t.Error("message for all rules: got one, want it at the platforms only")
	}
}
