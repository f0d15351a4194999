package pages

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"slipway/config/buildservice"
	"slipway/config/text"
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/pipeline"
	"slipway/plugin/web/httpx"
)

// inspectTimeout limits how long a page waits for a CI's server.
const inspectTimeout = 10 * time.Second

// fixTimeout limits how long a page waits for a CI's server that changes a repository. The server may
// request it from Bitbucket first.
const fixTimeout = 30 * time.Second

// An Engine is an engine with its settings. It may be not configured.
type Engine struct {
	Name       string
	Prefix     string // of the names of its settings, for example "SLIPWAY_DRONE_"
	Configured bool   // automated builds can use it
	Limit      int    // maximum number of concurrent builds; 0 means no limit
	Builder    string // address of the builder; empty means a builder is started

	Isolation Isolation // of builds on this machine; nil = not shown

	// The remaining fields are for engines on a CI server.
	CI         CI     // nil means not on a CI server, or not configured
	Server     string // URL, for example "https://drone.example.com"
	Repository string // builder repository; empty means each repository runs its own pipelines
	Image      string // of the build step
	Runners    string // type and platform, for example "docker, linux/amd64"; may be empty
}

// Title returns the name for a heading.
func (e Engine) Title() string { return strings.ToUpper(e.Name[:1]) + e.Name[1:] }

type enginesPage struct{ Rows []engineRow }

type engineRow struct {
	Engine
	Default      bool
	Inspected    bool // the server was inspected for this page
	Findings     []pipeline.Finding
	Environments []environmentView // only if the user asked for them
	Level        levelView
}

// Fixable reports whether the button for the settings of the builder repository changes a finding.
func (r engineRow) Fixable() bool {
	return slices.ContainsFunc(r.Findings, func(f pipeline.Finding) bool { return f.Fixable })
}

// An environmentView holds environment variables to copy, with secrets.
type environmentView struct{ Of, Lines string }

// A levelView is the level of isolation. It is zero if the engine has none.
type levelView struct {
	buildservice.Level
	Unknown bool // the builder service did not answer
}

// levelTimeout limits how long the page waits for the level.
const levelTimeout = time.Second

// viewLevel returns the level of an engine.
func viewLevel(ctx context.Context, e Engine) levelView {
	if e.Isolation == nil {
		return levelView{}
	}
	ctx, cancel := context.WithTimeout(ctx, levelTimeout)
	defer cancel()
	level, err := e.Isolation.Level(ctx)
	return levelView{Level: level, Unknown: err != nil}
}

// showEngines shows the engines. It inspects a CI's server only if the query asks for it: the script
// loads that part after the page, and without a script a link does.
func (p *Pages) showEngines(c *gin.Context) error {
	r, err := p.takeResult(c)
	if err != nil {
		return err
	}
	return p.renderEngines(c, func(e *engineRow) {
		if e.CI != nil && e.Name == r.Engine {
			for _, one := range e.CI.Environments(p.URL) {
				e.Environments = append(e.Environments, environmentView{one.Of, one.Reveal()})
			}
		}
		if e.CI == nil || e.Name != c.Query("look") {
			return
		}
		ctx, cancel := context.WithTimeout(c.Request.Context(), inspectTimeout)
		defer cancel()
		e.Inspected, e.Findings = true, e.CI.Inspect(ctx)
	})
}

// revealEnvironment shows the environment variables for a CI's programs, with the secrets for their
// signatures.
func (p *Pages) revealEnvironment(c *gin.Context) error {
	if p.ci(c.Param("id")).CI == nil {
		return fmt.Errorf("engine %q: %w", c.Param("id"), autobuild.ErrNotFound)
	}
	r := formResult{Kind: resultEnvironment, Engine: c.Param("id")}
	return p.redirectResult(c, "/settings/engines", "h-"+c.Param("id"), r)
}

// fixEngine changes the settings of the builder repository on a CI.
func (p *Pages) fixEngine(c *gin.Context) error {
	e := p.ci(c.Param("id"))
	if e.CI == nil {
		return fmt.Errorf("engine %q: %w", c.Param("id"), autobuild.ErrNotFound)
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), fixTimeout)
	defer cancel()
	if err := e.CI.Fix(ctx); err != nil {
		return httpx.ServerError(err, text.OneLine(err.Error(), 0))
	}
	c.Redirect(http.StatusSeeOther, "/settings/engines?look="+e.Name+"&done=fixed#h-"+e.Name)
	return nil
}

func (p *Pages) renderEngines(c *gin.Context, fill func(*engineRow)) error {
	var content enginesPage
	for i, e := range p.Engines {
		row := engineRow{Engine: e, Default: i == 0, Level: viewLevel(c.Request.Context(), e)}
		fill(&row)
		content.Rows = append(content.Rows, row)
	}
	return p.show(c, http.StatusOK, "engines", frame{Title: "Engines", Nav: "settings", Content: content})
}

// ci returns the configured engine with this name on a CI server. It is zero if there is none.
func (p *Pages) ci(name string) Engine {
	for _, e := range p.Engines {
		if e.Name == name && e.CI != nil {
			return e
		}
	}
	return Engine{}
}

// pipelineLink returns the link to an attempt's pipeline. It is empty if the engine is not on a CI
// server, or has not reported a pipeline.
func (p *Pages) pipelineLink(b autobuild.Build, a autobuild.Attempt) string {
	if p.ci(a.Engine).CI == nil || !strings.Contains(a.EngineRef, "#") {
		return ""
	}
	return fmt.Sprintf("/builds/%d/pipeline?attempt=%d", b.Number, a.Number)
}

// redirectToPipeline redirects to the page of an attempt's pipeline on its CI. The CI returns the address, and
// addresses on other servers are rejected.
func (p *Pages) redirectToPipeline(c *gin.Context) error {
	ctx, cancel := context.WithTimeout(c.Request.Context(), inspectTimeout)
	defer cancel()
	b, err := p.findBuild(c)
	if err != nil {
		return err
	}
	all, err := p.Store.Attempts(ctx, b.ID)
	if err != nil {
		return fmt.Errorf("attempts of build %d: %w", b.Number, err)
	}
	a := requestedAttempt(all, c.Query("attempt"))
	e := p.ci(a.Engine)
	if e.CI == nil {
		return &httpx.Error{
			Status:  http.StatusNotFound,
			Message: "This attempt has no pipeline on a configured CI.",
		}
	}
	address, err := e.CI.PipelineURL(ctx, a)
	if err == nil && !strings.HasPrefix(address, e.Server+"/") {
		err = fmt.Errorf("%q is not at %s", address, e.Server)
	}
	switch {
	case errors.Is(err, autobuild.ErrNotFound):
		return httpx.ServerError(err, e.Title()+" has no pipeline for this attempt.")
	case err != nil:
		return httpx.ServerError(err, e.Title()+" did not return the address of this pipeline. Try again. "+
			"An administrator can check the server under Settings → Engines.")
	}
	c.Redirect(http.StatusFound, address)
	return nil
}
