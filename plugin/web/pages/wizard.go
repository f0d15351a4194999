package pages

import (
	"fmt"
	"net/http"
	"net/url"
	"path"

	"github.com/gin-gonic/gin"

	"slipway/plugin/autobuild"
)

// newSteps are the steps to a new automated build. Each step has its own URL, so that the browser's
// Back button works.
var newSteps = []string{"Account", "Workspace", "Repository", "Dockerfile", "Rules"}

// A wizardPage is one step. The choices of earlier steps are in the URL.
type wizardPage struct {
	Step       int // index into Steps
	Steps      []string
	Account    autobuild.Account
	Accounts   []choice
	Choices    []choice // accounts, workspaces, repositories or Dockerfiles
	Search     string
	Hidden     map[string]string // parameters that the search form keeps
	More       string            // link to more repositories
	Repository autobuild.Repository
}

// A choice is one item to choose.
type choice struct{ Name, Note, Link string }

// showNewAutomated shows the first step that has no value in the URL.
func (p *Pages) showNewAutomated(c *gin.Context) error {
	accountID := c.Query("account")
	if accountID == "" {
		return p.chooseAccount(c)
	}
	account, err := p.Store.Account(c.Request.Context(), accountID)
	if err != nil {
		return fmt.Errorf("account %q: %w", accountID, err)
	}
	repository, workspace := c.Query("repository"), c.Query("workspace")
	if repository == "" {
		repository = account.Repository
	}
	if workspace == "" {
		workspace = account.Workspace
	}
	switch {
	case repository != "":
		return p.chooseDockerfile(c, account, repository)
	case workspace != "":
		return p.chooseRepository(c, account, workspace)
	}
	return p.chooseWorkspace(c, account)
}

func (p *Pages) showStep(c *gin.Context, content wizardPage, invalid faults) error {
	content.Steps = newSteps
	status := http.StatusOK
	if invalid != nil {
		status = http.StatusBadGateway
	}
	return p.show(c, status, "wizard", frame{
		Title:   "New automated build",
		Nav:     "automated",
		Crumbs:  []crumb{{"Automated builds", "/automated-builds"}},
		Faults:  invalid,
		Content: content,
	})
}

func (p *Pages) chooseAccount(c *gin.Context) error {
	accounts, err := p.Store.Accounts(c.Request.Context())
	if err != nil {
		return fmt.Errorf("list accounts: %w", err)
	}
	content := wizardPage{Step: 0}
	for _, a := range accounts {
		if a.State != autobuild.AccountLinked {
			continue
		}
		content.Choices = append(content.Choices, choice{a.Name, accountKind(a.Kind), newLink("account", a.ID)})
	}
	if len(content.Choices) == 1 && !c.Request.URL.Query().Has("choose") {
		c.Redirect(http.StatusSeeOther, content.Choices[0].Link)
		return nil
	}
	return p.showStep(c, content, nil)
}

func (p *Pages) chooseWorkspace(c *gin.Context, a autobuild.Account) error {
	content := wizardPage{Step: 1, Account: a}
	workspaces, err := p.Catalog.Workspaces(c.Request.Context(), a.ID)
	if invalid := faultsOf(err, ""); invalid != nil {
		return p.showStep(c, content, invalid)
	}
	if err != nil {
		return fmt.Errorf("workspaces of account %s: %w", a.Name, err)
	}
	for _, w := range workspaces {
		content.Choices = append(content.Choices, choice{w.Slug, "", newLink("account", a.ID, "workspace", w.Slug)})
	}
	return p.showStep(c, content, nil)
}

func (p *Pages) chooseRepository(c *gin.Context, a autobuild.Account, workspace string) error {
	search := c.Query("search")
	content := wizardPage{
		Step:    2,
		Account: a,
		Search:  search,
		Hidden:  map[string]string{"account": a.ID, "workspace": workspace},
	}
	repositories, next, err := p.Catalog.Repositories(c.Request.Context(), a.ID, workspace, search, c.Query("page"))
	if invalid := faultsOf(err, ""); invalid != nil {
		return p.showStep(c, content, invalid)
	}
	if err != nil {
		return fmt.Errorf("repositories of %s: %w", workspace, err)
	}
	for _, r := range repositories {
		note := "public"
		if r.Private {
			note = "private"
		}
		content.Choices = append(
			content.Choices,
			choice{r.FullName, note, newLink("account", a.ID, "repository", r.FullName)},
		)
	}
	if next != "" {
		content.More = newLink("account", a.ID, "workspace", workspace, "search", search, "page", next)
	}
	return p.showStep(c, content, nil)
}

// chooseDockerfile lists the Dockerfiles on the default branch. A single Dockerfile is chosen without
// asking.
func (p *Pages) chooseDockerfile(c *gin.Context, a autobuild.Account, fullName string) error {
	content := wizardPage{Step: 3, Account: a}
	r, found, err := p.Catalog.Dockerfiles(c.Request.Context(), a.ID, fullName)
	if invalid := faultsOf(err, ""); invalid != nil {
		return p.showStep(c, content, invalid)
	}
	if err != nil {
		return fmt.Errorf("dockerfiles of %s: %w", fullName, err)
	}
	content.Repository = r
	chosen := c.Query("dockerfile")
	if chosen == "" && len(found) == 1 {
		chosen = found[0]
	}
	if chosen != "" {
		return p.newDraft(c, a, r, chosen)
	}
	for _, file := range found {
		content.Choices = append(
			content.Choices,
			choice{file, "", newLink("account", a.ID, "repository", fullName, "dockerfile", file)},
		)
	}
	content.More = newLink("account", a.ID, "repository", fullName, "dockerfile", "Dockerfile")
	return p.showStep(c, content, nil)
}

// newDraft shows the form with the default rule filled in.
func (p *Pages) newDraft(c *gin.Context, a autobuild.Account, r autobuild.Repository, dockerfile string) error {
	rule := autobuild.DefaultRule(r.DefaultBranch)
	rule.Dockerfile = dockerfile
	if path.Dir(dockerfile) != "." {
		rule.Context = "" // the Dockerfile's folder
	}
	form := draftFormOf(autobuild.AutomatedBuild{Rules: []autobuild.Rule{rule}})
	return p.showDraft(
		c,
		http.StatusOK,
		draftPage{
			draftForm:     form,
			Account:       a,
			Repository:    r.FullName,
			DefaultBranch: r.DefaultBranch,
			Dockerfile:    dockerfile,
			New:           true,
		},
		nil,
	)
}

// newLink returns the URL of a step with name and value pairs. Pairs with an empty value are left out.
func newLink(pairs ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return "/automated-builds/new?" + q.Encode()
}
