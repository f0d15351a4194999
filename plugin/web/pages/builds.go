package pages

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"slipway/plugin/autobuild"
)

// pageSize is the number of rows of a list.
const pageSize = 50

// stateFilters are the filters above the list of builds, in order.
var stateFilters = []struct {
	Name   string
	States []autobuild.State
}{
	{"all", nil},
	{"active", []autobuild.State{autobuild.Queued, autobuild.Starting, autobuild.Running}},
	{"succeeded", []autobuild.State{autobuild.Succeeded}},
	{"failed", []autobuild.State{autobuild.Failed}},
	{"error", []autobuild.State{autobuild.Errored}},
	{"cancelled", []autobuild.State{autobuild.Cancelled}},
}

type buildsPage struct {
	Rows    []buildRow
	Filters []filterLink
	Older   string // link to the next page; empty on the last one
	Active  bool   // a build is active, so the list refreshes more often
	Shown   string // name of the filter
	Version string // of the list
}

type filterLink struct {
	Name, Link string
	Current    bool
}

// showBuilds lists all builds, newest first.
func (p *Pages) showBuilds(c *gin.Context) error {
	version, unchanged, err := p.listVersion(c)
	if err != nil || unchanged {
		return err
	}
	shown := c.DefaultQuery("state", "all")
	filter := autobuild.BuildFilter{Limit: pageSize + 1}
	content := buildsPage{Shown: shown, Version: version}
	for _, f := range stateFilters {
		content.Filters = append(content.Filters, filterLink{f.Name, "/builds?state=" + f.Name, f.Name == shown})
		if f.Name == shown {
			filter.States = f.States
		}
	}
	// Without a valid number the list starts at the newest build.
	filter.Before, _ = strconv.ParseInt(c.Query("before"), 10, 64)
	builds, err := p.view(c).Builds(c.Request.Context(), filter)
	if err != nil {
		return fmt.Errorf("list builds: %w", err)
	}
	if len(builds) > pageSize {
		builds = builds[:pageSize]
		content.Older = fmt.Sprintf("/builds?state=%s&before=%d", shown, builds[pageSize-1].Number)
	}
	content.Rows = p.buildRows(builds)
	content.Active = anyActive(builds)
	return p.show(c, http.StatusOK, "builds", frame{Title: "Builds", Nav: "builds", Content: content})
}

// A buildRow is a build in a list.
type buildRow struct {
	autobuild.Build
	Took string // empty until the build has ended
}

func (p *Pages) buildRows(builds []autobuild.Build) []buildRow {
	var rows []buildRow
	for _, b := range builds {
		rows = append(rows, buildRow{b, buildTime(b)})
	}
	return rows
}

// buildTime returns the duration from the runner's claim to the end.
func buildTime(b autobuild.Build) string { return timeTaken(b.StartedAt, b.FinishedAt) }

// timeTaken returns the time between a start and an end. It is empty unless both are known.
func timeTaken(start, end time.Time) string {
	if start.IsZero() || end.IsZero() {
		return ""
	}
	return duration(end.Sub(start))
}

func anyActive(builds []autobuild.Build) bool {
	for _, b := range builds {
		if !b.State.Final() {
			return true
		}
	}
	return false
}

// findBuild returns the build with the number in the path. It returns ErrNotFound if the user may not
// read it.
func (p *Pages) findBuild(c *gin.Context) (autobuild.Build, error) { return findBuild(c, p.view(c)) }

func findBuild(c *gin.Context, v View) (autobuild.Build, error) {
	n, err := strconv.ParseInt(c.Param("number"), 10, 64)
	if err != nil {
		return autobuild.Build{}, fmt.Errorf("build %q: %w", c.Param("number"), autobuild.ErrNotFound)
	}
	return v.BuildByNumber(c.Request.Context(), n)
}
