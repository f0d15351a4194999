package pages

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/gin-gonic/gin"

	"slipway/plugin/autobuild"
	"slipway/plugin/catalog"
	"slipway/plugin/logctx"
	"slipway/plugin/web/session"
)

// A draftPage is the form of a new or stored automated build.
type draftPage struct {
	draftForm
	New                       bool
	Account                   autobuild.Account
	Repository, DefaultBranch string
	Dockerfile                string
	ID                        string // empty when New
	Steps                     []string
	Engines                   []option
	TestChoices, HookChoices  []option
	SkipChoices               []option
	SourceTypes               []option
	Accounts                  []option             // accounts to choose from
	Registries                []autobuild.Registry // credentials that can push its image
}

func (p *Pages) showDraft(c *gin.Context, status int, content draftPage, invalid faults) error {
	content.Steps = newSteps
	content.Engines = p.engineChoices(content.Engine)
	content.TestChoices = []option{{testsRun, "Not ignored: builds with test files fail"}, {testsIgnore, "Ignore"}}
	content.HookChoices = []option{{optionOn, "On"}, {optionOff, "Off: builds with hooks fail"}}
	content.SkipChoices = []option{
		{optionOn, "On: such commits are not built"},
		{optionOff, "Off: every commit is built"},
	}
	content.SourceTypes = []option{{"branch", "Branch"}, {"tag", "Tag"}}
	if err := p.fillAccounts(c, &content); err != nil {
		return err
	}
	if user, _ := session.User(c); administers(user) {
		stored, err := p.Store.Registries(c.Request.Context())
		if err != nil {
			return fmt.Errorf("list registries: %w", err)
		}
		for _, r := range stored {
			if r.Purpose == autobuild.RegistryPush && (r.AutomatedBuildID == "" || r.AutomatedBuildID == content.ID) {
				content.Registries = append(content.Registries, r)
			}
		}
	}
	f := frame{
		Title:   "New automated build",
		Nav:     "automated",
		Crumbs:  []crumb{{"Automated builds", "/automated-builds"}},
		Faults:  invalid,
		Content: content,
	}
	if !content.New {
		f.Title = "Edit " + content.Repository
		f.Crumbs = append(f.Crumbs, crumb{content.Repository, "/automated-builds/" + content.ID})
	}
	return p.show(c, status, "draft", f)
}

// engineChoices returns the configured engines. The current engine is always included, even if it is
// no longer configured and has to be replaced.
func (p *Pages) engineChoices(current string) []option {
	var all []option
	for _, e := range p.Engines {
		if e.Configured {
			all = append(all, option{e.Name, engineName(e.Name)})
		}
	}
	if current != "" && !slices.ContainsFunc(all, func(o option) bool { return o.Value == current }) {
		all = append(all, option{current, engineName(current) + " (not configured)"})
	}
	return all
}

// fillAccounts adds the linked accounts, and the current account in any state.
func (p *Pages) fillAccounts(c *gin.Context, content *draftPage) error {
	all, err := p.Store.Accounts(c.Request.Context())
	if err != nil {
		return fmt.Errorf("list accounts: %w", err)
	}
	user, _ := session.User(c)
	for _, a := range all {
		if a.ID == content.Account.ID || (a.State == autobuild.AccountLinked && administers(user)) {
			content.Accounts = append(content.Accounts, option{a.ID, a.Name + " (" + accountKind(a.Kind) + ")"})
		}
	}
	return nil
}

// createAutomated saves a new automated build, and starts a build if the user chose that button.
func (p *Pages) createAutomated(c *gin.Context) error {
	if err := parseForm(c); err != nil {
		return err
	}
	form := c.Request.PostForm
	account, err := p.Store.Account(c.Request.Context(), form.Get("account"))
	if err != nil {
		return fmt.Errorf("account %q: %w", form.Get("account"), err)
	}
	content := draftPage{
		draftForm:     readDraftForm(form),
		New:           true,
		Account:       account,
		Repository:    form.Get("repository"),
		DefaultBranch: form.Get("default_branch"),
		Dockerfile:    form.Get("dockerfile"),
	}
	if content.change(form) {
		return p.showDraft(c, http.StatusOK, content, nil)
	}
	saved, invalid, err := p.save(c, content, p.Catalog.Create)
	if invalid != nil {
		return p.showDraft(c, http.StatusUnprocessableEntity, content, invalid)
	}
	if err != nil {
		return fmt.Errorf("create automated build of %s: %w", content.Repository, err)
	}
	return p.afterSave(c, saved, "created")
}

// save passes the form as a draft to the catalog. It returns invalid fields separately.
func (p *Pages) save(
	c *gin.Context,
	content draftPage,
	do func(context.Context, catalog.Draft) (catalog.Saved, error),
) (catalog.Saved, faults, error) {
	user, _ := session.User(c)
	var invalid faults
	draft := catalog.Draft{
		AccountID:   content.Account.ID,
		Repository:  content.Repository,
		Image:       content.Image,
		Engine:      content.Engine,
		TestsOff:    content.Tests == testsIgnore,
		HooksOff:    content.Hooks == optionOff,
		SkipCIOff:   content.SkipCI == optionOff,
		Duplicate:   content.Duplicate,
		Rules:       content.rules(&invalid),
		Environment: content.environment(&invalid),
		UserID:      user.ID,
		Viewer:      viewer(c),
	}
	if invalid != nil {
		return catalog.Saved{}, invalid, nil
	}
	saved, err := do(c.Request.Context(), draft)
	return saved, faultsOf(err, ""), err
}

// afterSave starts a build if the user chose that button. It shows the warnings, if there are any.
func (p *Pages) afterSave(c *gin.Context, saved catalog.Saved, notice string) error {
	where := "/automated-builds/" + saved.ID
	warnings := saved.Warnings
	if c.Request.PostForm.Get("then") == "build" {
		builds, err := p.start(c, saved.AutomatedBuild, startForm{}, autobuild.Rule{})
		switch {
		case err != nil:
			logctx.Log(c.Request.Context(), p.Log).
				WithError(err).
				WithField("automated_build", saved.ID).
				Warn("automated build saved, but no build started")
			warnings = append(
				warnings,
				"The automated build is saved, but no build could be started. Start one on its page.",
			)
		case len(builds) == 1 && len(warnings) == 0:
			return redirectDone(c, fmt.Sprintf("/builds/%d", builds[0].Number), "created")
		}
	}
	if len(warnings) == 0 {
		return redirectDone(c, where, notice)
	}
	return p.redirectAdvice(c, saved.Repository.FullName+" is saved", warnings, where)
}

// redirectAdvice redirects to a page that shows that an action succeeded, with warnings.
func (p *Pages) redirectAdvice(c *gin.Context, title string, advice []string, link string) error {
	r := formResult{Kind: resultAdvice, Title: title, Advice: advice, Link: link}
	return p.redirectResult(c, resultsPath, "", r)
}

// editAutomated shows the form of a stored automated build.
func (p *Pages) editAutomated(c *gin.Context) error {
	a, err := p.findAutomated(c)
	if err != nil {
		return err
	}
	content, err := p.storedDraft(c, a)
	if err != nil {
		return err
	}
	content.draftForm = draftFormOf(a)
	return p.showDraft(c, http.StatusOK, content, nil)
}

func (p *Pages) storedDraft(c *gin.Context, a autobuild.AutomatedBuild) (draftPage, error) {
	account, err := zeroIfNotFound(p.Store.Account(c.Request.Context(), a.AccountID))
	if err != nil {
		return draftPage{}, fmt.Errorf("account of %s: %w", a.Repository.FullName, err)
	}
	return draftPage{
		ID:            a.ID,
		Account:       account,
		Repository:    a.Repository.FullName,
		DefaultBranch: a.Repository.DefaultBranch,
	}, nil
}

// updateAutomated saves a stored automated build.
func (p *Pages) updateAutomated(c *gin.Context) error {
	if err := parseForm(c); err != nil {
		return err
	}
	a, err := p.findAutomated(c)
	if err != nil {
		return err
	}
	content, err := p.storedDraft(c, a)
	if err != nil {
		return err
	}
	content.draftForm = readDraftForm(c.Request.PostForm)
	if user, _ := session.User(c); !administers(user) {
		// Only administrators may change these. They use credentials of the installation, and an
		// engine may run on another CI.
		content.Image, content.Engine = a.Image, a.Engine
	} else if chosen := c.Request.PostForm.Get("account"); chosen != "" {
		content.Account.ID = chosen
	}
	if content.change(c.Request.PostForm) {
		return p.showDraft(c, http.StatusOK, content, nil)
	}
	saved, invalid, err := p.save(c, content, func(ctx context.Context, d catalog.Draft) (catalog.Saved, error) {
		return p.Catalog.Update(ctx, a.ID, d)
	})
	if invalid != nil {
		return p.showDraft(c, http.StatusUnprocessableEntity, content, invalid)
	}
	if err != nil {
		return fmt.Errorf("update automated build of %s: %w", a.Repository.FullName, err)
	}
	return p.afterSave(c, saved, "saved")
}
