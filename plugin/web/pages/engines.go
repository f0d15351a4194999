package pages

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"slipway/plugin/autobuild"
	"slipway/plugin/engine/pipeline"
	"slipway/plugin/web/httpx"
)

// lookTime bounds how long a page waits for a CI's server.
const lookTime = 10 * time.Second

// An Engine is one that runs builds, or that settings would add, as an administrator set it.
type Engine struct {
	Name       string
	Prefix     string // of its settings' names
	Configured bool   // automated builds may choose it
	Limit      int    // builds at once; 0 = as many as it takes
	Builder    string // address of the builder that builds use; empty = one is started

	// What follows is for those that are CIs.
	CI         CI     // nil = it is none, or not configured
	Server     string // origin
	Repository string // builder repository; empty = each repository runs its own pipelines
	Image      string // of the build step
	Runners    string // their kind and platform, where it has several
}

// Title is its name as a heading.
func (e Engine) Title() string { return strings.ToUpper(e.Name[:1]) + e.Name[1:] }

type enginesPage struct{ Rows []engineRow }

type engineRow struct {
	Engine
	Default      bool
	Looked       bool // the server was looked at for this page
	Findings     []pipeline.Finding
	Environments []environmentView // only when somebody asked for them
}

// An environmentView is lines to copy, secrets included.
type environmentView struct{ Of, Lines string }

// engines shows what runs the builds. A CI's server is looked at only where the query asks
// for it: the script loads that part when the page is there, and without one a link does.
func (p *Pages) engines(c *gin.Context) error {
	return p.showEngines(c, func(e *engineRow) {
		if e.CI == nil || e.Name != c.Query("look") {
			return
		}
		ctx, cancel := context.WithTimeout(c.Request.Context(), lookTime)
		defer cancel()
		e.Looked, e.Findings = true, e.CI.Inspect(ctx)
	})
}

// revealEnvironment shows this once what a CI's programs need in their environment, with the
// secrets that they sign with.
func (p *Pages) revealEnvironment(c *gin.Context) error {
	if p.ci(c.Param("id")).CI == nil {
		return fmt.Errorf("engine %q: %w", c.Param("id"), autobuild.ErrNotFound)
	}
	return p.showEngines(c, func(e *engineRow) {
		if e.Name != c.Param("id") {
			return
		}
		for _, one := range e.CI.Environments(p.URL) {
			e.Environments = append(e.Environments, environmentView{one.Of, one.Reveal()})
		}
	})
}

func (p *Pages) showEngines(c *gin.Context, fill func(*engineRow)) error {
	var content enginesPage
	for i, e := range p.Engines {
		row := engineRow{Engine: e, Default: i == 0}
		fill(&row)
		content.Rows = append(content.Rows, row)
	}
	return p.show(c, http.StatusOK, "engines", frame{Title: "Engines", Nav: "settings", Content: content})
}

// ci finds an engine that is a CI; zero when none of that name is configured.
func (p *Pages) ci(name string) Engine {
	for _, e := range p.Engines {
		if e.Name == name && e.CI != nil {
			return e
		}
	}
	return Engine{}
}

// pipelineLink leads to an attempt's pipeline; empty where its engine is no CI, or has not
// said that there is one.
func (p *Pages) pipelineLink(b autobuild.Build, a autobuild.Attempt) string {
	if p.ci(a.Engine).CI == nil || !strings.Contains(a.EngineRef, "#") {
		return ""
	}
	return fmt.Sprintf("/builds/%d/pipeline?attempt=%d", b.Number, a.Number)
}

// pipeline sends the browser to an attempt's pipeline on its CI, which is asked where that is,
// and to no other server.
func (p *Pages) pipeline(c *gin.Context) error {
	ctx, cancel := context.WithTimeout(c.Request.Context(), lookTime)
	defer cancel()
	b, err := p.findBuild(c)
	if err != nil {
		return err
	}
	all, err := p.Store.Attempts(ctx, b.ID)
	if err != nil {
		return fmt.Errorf("attempts of build %d: %w", b.Number, err)
	}
	a := chosen(all, c.Query("attempt"))
	e := p.ci(a.Engine)
	if e.CI == nil {
		return &httpx.Error{
			Status:  http.StatusNotFound,
			Message: "This attempt has no pipeline on a CI that is configured here.",
		}
	}
	address, err := e.CI.PipelineURL(ctx, a)
	if err == nil && !strings.HasPrefix(address, e.Server+"/") {
		err = fmt.Errorf("%q is not at %s", address, e.Server)
	}
	switch {
	case errors.Is(err, autobuild.ErrNotFound):
		return &httpx.Error{
			Status:  http.StatusNotFound,
			Message: e.Title() + " has no pipeline of this attempt, or no longer.",
			Err:     err,
		}
	case err != nil:
		return &httpx.Error{
			Status:  http.StatusBadGateway,
			Message: e.Title() + " does not say where this pipeline is. Try again; Settings → Engines tells an administrator what to mend.",
			Err:     err,
		}
	}
	c.Redirect(http.StatusFound, address)
	return nil
}
