package pages_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"slipway/config/buildservice"
	"slipway/plugin/autobuild"
	"slipway/plugin/web/pages"
	"slipway/plugin/web/pages/pagestest"
)

// isolation is a builder service with a level, or with an error.
type isolation struct {
	level buildservice.Level
	err   error
}

func (i isolation) Level(context.Context) (buildservice.Level, error) { return i.level, i.err }

// slowIsolation never answers.
type slowIsolation struct{}

func (slowIsolation) Level(ctx context.Context) (buildservice.Level, error) {
	<-ctx.Done()
	return buildservice.Level{}, context.Cause(ctx)
}

func TestThePageShowsTheLevelOfIsolation(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	for want, source := range map[string]pages.Isolation{
		"Isolation full: build hooks run in a sandbox": isolation{level: buildservice.Level{Hooks: "full"}},
		"Limits without effect memory: no cgroups; disk: no root": isolation{level: buildservice.Level{
			Hooks: "full", NotHeld: []string{"memory: no cgroups", "disk: no root"},
		}},
		"Isolation off: build hooks do not run. runc is absent": isolation{level: buildservice.Level{
			Hooks: "off", Why: "runc is absent",
		}},
		"Isolation not known yet: the builder service is starting, or does not run": isolation{err: errors.New("no socket")},
	} {
		embedded := pagestest.Embedded()
		embedded.Isolation = source
		s.Pages.Engines = []pages.Engine{embedded}
		s.get(t, autobuild.RoleAdmin, enginesPage).want(t, http.StatusOK, want)
	}
	s.Pages.Engines = []pages.Engine{pagestest.Embedded()}
	if text := words(s.get(t, autobuild.RoleAdmin, enginesPage).main()); strings.Contains(text, "Isolation") {
		t.Errorf("page without a builder service: got %s, want no isolation", text)
	}
}

func TestASlowServiceDelaysThePageByASecond(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	embedded := pagestest.Embedded()
	embedded.Isolation = slowIsolation{}
	s.Pages.Engines = []pages.Engine{embedded}
	start := time.Now()
	s.get(t, autobuild.RoleAdmin, enginesPage).want(t, http.StatusOK, "Isolation not known")
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("page: got it after %s, want about a second", took)
	}
}
