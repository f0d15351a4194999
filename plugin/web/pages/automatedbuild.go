package pages

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/catalog"
	"slipway/plugin/credentials"
	"slipway/plugin/engine/inrepo"
	"slipway/plugin/planner"
	"slipway/plugin/web/session"
)

type automatedBuildPage struct {
	autobuild.AutomatedBuild
	Account       autobuild.Account
	Stopped       string // why nothing is built; empty = the account can be used
	Relink        relinkButton
	RepositoryURL string
	Credentials   credentials.Choice
	Hook          hookView
	Own           ownView
	Builds        []buildRow
	Active        bool
	Version       string // of the list of builds
	Start         startForm
	Reappeared    []reappearedRow
}

// A reappearedRow is a ref that a poll found again, with the key of the form that builds it.
type reappearedRow struct {
	autobuild.ReappearedRef
	Key string
}

type hookView struct {
	autobuild.Hook
	URL        string
	ByHand     string // URL of the page at Bitbucket to add it by hand
	Polls      pollsView
	Revealed   bool   // this page shows the secret
	SecretText string // empty unless Revealed
	Rotating   bool   // the previous secret is still valid
}

// reveals are the secrets that a page shows once.
type reveals struct {
	hook  bool          // the webhook's
	token secret.Secret // a new pipeline token
}

// A startForm is the form to start builds.
type startForm struct {
	Rule, Ref string
	Rules     []option
}

// showAutomatedBuild shows one automated build.
func (p *Pages) showAutomatedBuild(c *gin.Context) error {
	_, unchanged, err := p.listVersion(c)
	if err != nil || unchanged { // before anything else is read
		return err
	}
	a, err := p.findAutomated(c)
	if err != nil {
		return err
	}
	r, err := p.takeResult(c)
	if err != nil {
		return err
	}
	reveal := reveals{hook: r.Kind == resultHookSecret, token: secret.New(r.Token)}
	return p.showAutomated(c, http.StatusOK, a, startForm{}, nil, reveal)
}

func (p *Pages) findAutomated(c *gin.Context) (autobuild.AutomatedBuild, error) {
	a, err := p.view(c).AutomatedBuild(c.Request.Context(), c.Param("id"))
	if err != nil {
		return a, fmt.Errorf("automated build %q: %w", c.Param("id"), err)
	}
	return a, nil
}

func (p *Pages) showAutomated(
	c *gin.Context,
	status int,
	a autobuild.AutomatedBuild,
	start startForm,
	invalid faults,
	reveal reveals,
) error {
	ctx := c.Request.Context()
	version, _, err := p.listVersion(c)
	if err != nil {
		return err
	}
	content := automatedBuildPage{AutomatedBuild: a, Start: start, Version: version}
	builds, err := p.view(c).Builds(ctx, autobuild.BuildFilter{AutomatedBuildID: a.ID, Limit: 15})
	if err != nil {
		return fmt.Errorf("builds of %s: %w", a.Repository.FullName, err)
	}
	content.Builds, content.Active = p.buildRows(builds), anyActive(builds)
	content.Account, err = zeroIfNotFound(p.Store.Account(ctx, a.AccountID))
	if err != nil {
		return fmt.Errorf("account of %s: %w", a.Repository.FullName, err)
	}
	stored, err := p.Store.Registries(ctx)
	if err != nil {
		return fmt.Errorf("registry of %s: %w", a.Image, err)
	}
	content.Credentials = credentials.Choose(stored, credentials.Use{
		AutomatedBuildID: a.ID, Image: a.Image, BoundOnly: a.Engine == inrepo.Name,
	})
	content.Hook, err = p.hookView(ctx, a)
	if err != nil {
		return err
	}
	if reveal.hook {
		content.Hook.Revealed, content.Hook.SecretText = true, content.Hook.Secret.Reveal()
	}
	content.Own, err = p.ownView(ctx, a, content.Credentials.Push.ID != "", reveal.token)
	if err != nil {
		return err
	}
	provider, err := zeroIfNotFound(p.Store.Provider(ctx, a.Repository.ProviderID))
	if err != nil {
		return fmt.Errorf("provider of %s: %w", a.Repository.FullName, err)
	}
	content.Stopped = content.Account.Stopped()
	if content.Stopped != "" {
		content.Relink = relinkOf(content.Account, provider, "/automated-builds/"+a.ID)
	}
	content.RepositoryURL = repositoryURL(provider, a.Repository)
	content.Hook.ByHand = webhooksURL(provider, a.Repository)
	content.Reappeared, err = p.reappearedRows(ctx, a)
	if err != nil {
		return err
	}
	content.Start.Rules = startRules(a.Rules)
	return p.show(c, status, "automatedbuild", frame{
		Title:   a.Repository.FullName,
		Nav:     "automated",
		Crumbs:  []crumb{{"Automated builds", "/automated-builds"}},
		Faults:  invalid,
		Content: content,
	})
}

// A relinkButton leads to where an account is linked again.
type relinkButton struct{ Label, Link string }

// relinkOf returns the button for an account that cannot be used. back is the page to return to.
func relinkOf(a autobuild.Account, provider autobuild.Provider, back string) relinkButton {
	switch {
	case a.ID == "":
		return relinkButton{"Choose another account", back + "/edit"}
	case a.Kind != autobuild.AccountOAuth:
		return relinkButton{"Add access token", "/settings/providers/" + a.ProviderID + "/token"}
	case !provider.Configured():
		return relinkButton{"Set up", "/setup?provider=" + a.ProviderID}
	}
	return relinkButton{"Link account again", linkURL(a.ProviderID, back)}
}

func (p *Pages) hookView(ctx context.Context, a autobuild.AutomatedBuild) (hookView, error) {
	h, err := zeroIfNotFound(p.Store.HookOf(ctx, a.Repository))
	if err != nil {
		return hookView{}, fmt.Errorf("webhook of %s: %w", a.Repository.FullName, err)
	}
	view := hookView{Hook: h, Polls: p.pollsView(h), Rotating: p.Now().Before(h.PreviousUntil)}
	if h.ID != "" {
		view.URL = p.Catalog.HookURL(h)
	}
	return view, nil
}

// A pollsView describes the polls of a repository without a webhook.
type pollsView struct {
	Every      string // for example "5 min"
	Next       string // for example "in 3 min"; empty = this gateway does not know the next poll, nor Every for sure
	Configured string // the shorter configured interval; empty = Every is the configured one
}

func (p *Pages) pollsView(h autobuild.Hook) pollsView {
	view := pollsView{Every: roughDuration(p.PollInterval)}
	if p.Polls == nil {
		return view
	}
	at, every := p.Polls.NextPoll(h.ID)
	if at.IsZero() {
		return view
	}
	view.Next = "soon"
	if wait := at.Sub(p.Now()); wait > 0 {
		view.Next = "in " + roughDuration(wait)
	}
	if real := roughDuration(every); every > p.PollInterval && real != view.Every {
		view.Every, view.Configured = real, view.Every
	}
	return view
}

func (p *Pages) reappearedRows(ctx context.Context, a autobuild.AutomatedBuild) ([]reappearedRow, error) {
	refs, err := p.Store.ReappearedRefs(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	var rows []reappearedRow
	for _, r := range refs {
		if ruleOf(a, r.RuleID).ID != "" { // else the rule was deleted since
			rows = append(rows, reappearedRow{r, rand.Text()})
		}
	}
	return rows, nil
}

// startRules returns the options of a manual start: all rules without a pattern, or one rule.
func startRules(rules []autobuild.Rule) []option {
	all := []option{{"", "All rules without a pattern"}}
	for _, r := range rules {
		all = append(all, option{r.ID, fmt.Sprintf("%s: %s %s → %s", r.ID, r.SourceType, r.Source, r.Tags)})
	}
	return all
}

// isPattern reports whether a rule's source matches many refs.
func isPattern(r autobuild.Rule) bool {
	return len(r.Source) > 1 && strings.HasPrefix(r.Source, "/") && strings.HasSuffix(r.Source, "/")
}

// startBuilds starts builds from the form.
func (p *Pages) startBuilds(c *gin.Context) error {
	a, err := p.findAutomated(c)
	if err != nil {
		return err
	}
	form := startForm{Rule: c.PostForm("rule"), Ref: strings.TrimSpace(c.PostForm("ref"))}
	rule := ruleOf(a, form.Rule)
	var invalid faults
	switch {
	case form.Rule == "" && form.Ref != "":
		invalid.add("rule", "choose a rule for this branch or tag")
	case form.Rule != "" && rule.ID == "":
		invalid.add("rule", "this rule no longer exists: choose another one")
	case isPattern(rule) && form.Ref == "":
		invalid.add("ref", "the rule's source is a pattern: enter the "+string(rule.SourceType)+" to build")
	}
	if invalid != nil {
		return p.showAutomated(c, http.StatusUnprocessableEntity, a, form, invalid, reveals{})
	}
	builds, err := p.start(c, a, form, rule)
	if invalid := faultsOf(err, "ref"); invalid != nil {
		return p.showAutomated(c, http.StatusUnprocessableEntity, a, form, invalid, reveals{})
	}
	if err != nil {
		return err
	}
	if len(builds) == 1 {
		return redirectDone(c, fmt.Sprintf("/builds/%d", builds[0].Number), "started")
	}
	return redirectDone(c, "/automated-builds/"+a.ID, "started")
}

func (p *Pages) start(
	c *gin.Context,
	a autobuild.AutomatedBuild,
	form startForm,
	rule autobuild.Rule,
) ([]autobuild.Build, error) {
	user, _ := session.User(c)
	r := planner.Request{
		AutomatedBuildID: a.ID,
		RuleID:           form.Rule,
		Cause:            autobuild.CauseManual,
		Key:              currentForm(c),
		By:               user.Name,
	}
	if form.Ref != "" {
		r.Ref = autobuild.Ref{Kind: rule.SourceType, Name: form.Ref}
	}
	return p.Starter.Start(c.Request.Context(), r)
}

// rebuild starts a new build of the same commit with the current rule.
func (p *Pages) rebuild(c *gin.Context) error {
	b, err := p.findBuild(c)
	if err != nil {
		return err
	}
	user, _ := session.User(c)
	builds, err := p.Starter.Start(c.Request.Context(), planner.Request{
		AutomatedBuildID: b.AutomatedBuildID,
		RuleID:           b.RuleID,
		Ref:              b.Ref,
		Commit:           b.Commit.Hash,
		Cause:            autobuild.CauseManual,
		Key:              currentForm(c),
		By:               user.Name,
	})
	if err != nil {
		return fmt.Errorf("rebuild %d: %w", b.Number, err)
	}
	if len(builds) == 0 {
		return redirectDone(c, "/automated-builds/"+b.AutomatedBuildID, "started")
	}
	return redirectDone(c, fmt.Sprintf("/builds/%d", builds[0].Number), "started")
}

// ensureHook adds or repairs the webhook.
func (p *Pages) ensureHook(c *gin.Context) error {
	a, err := p.findAutomated(c)
	if err != nil {
		return err
	}
	if _, err := p.Catalog.EnsureHook(c.Request.Context(), a.Repository, a.AccountID); err != nil {
		return fmt.Errorf("webhook of %s: %w", a.Repository.FullName, err)
	}
	return redirectDone(c, "/automated-builds/"+a.ID, "hook")
}

// A confirmPage asks before something is deleted. The user has to type Name; if Name is empty, the
// button is enough.
type confirmPage struct {
	Question, Consequence string
	Name, Button          string
	Action, Back          string
}

func (p *Pages) confirm(c *gin.Context, status int, nav string, content confirmPage, invalid faults) error {
	return p.show(c, status, "confirm", frame{Title: content.Question, Nav: nav, Faults: invalid, Content: content})
}

// confirmed reports whether the user confirmed. If not, it shows the question.
func (p *Pages) confirmed(c *gin.Context, nav string, content confirmPage) (bool, error) {
	if c.Request.Method == http.MethodPost && strings.TrimSpace(c.PostForm("name")) == content.Name {
		return true, nil
	}
	var invalid faults
	status := http.StatusOK
	if c.Request.Method == http.MethodPost {
		status = http.StatusUnprocessableEntity
		invalid.add("name", "type "+content.Name+" to confirm")
	}
	return false, p.confirm(c, status, nav, content, invalid)
}

// deleteAutomated deletes an automated build after a confirmation.
func (p *Pages) deleteAutomated(c *gin.Context) error {
	a, err := p.findAutomated(c)
	if err != nil {
		return err
	}
	ok, err := p.confirmed(c, "automated", confirmPage{
		Question: "Delete the automated build of " + a.Repository.FullName + "?",
		Consequence: "Pushes no longer build " + a.Image + ", and running builds are cancelled. The webhook is removed " +
			"if no other automated build uses it. Earlier builds stay listed, and pushed images are not deleted.",
		Name:   a.Repository.FullName,
		Button: "Delete automated build",
		Action: "/automated-builds/" + a.ID + "/delete",
		Back:   "/automated-builds/" + a.ID,
	})
	if !ok {
		return err
	}
	err = p.Catalog.Delete(c.Request.Context(), a.ID)
	var left *catalog.LeftBehind
	if errors.As(err, &left) {
		return p.redirectAdvice(c, a.Repository.FullName+" is deleted", []string{left.Error()}, "/automated-builds")
	}
	if err != nil {
		return fmt.Errorf("delete automated build of %s: %w", a.Repository.FullName, err)
	}
	return redirectDone(c, "/automated-builds", "deleted")
}
