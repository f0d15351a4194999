package pages

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"slipway/plugin/autobuild"
	"slipway/plugin/web/session"
)

type automatedPage struct {
	Rows           []automatedRow
	Search, State  string
	States         []option
	Active, Linked bool
	Any            bool   // there is an automated build, shown or not
	Previous, Next string // links; empty at the ends of the list
	Version        string // of the list
}

type automatedRow struct {
	autobuild.ListedAutomatedBuild
	Last    autobuild.BuildSummary // zero if there is no build yet
	Took    string
	Bars    bars
	Trouble string // a problem with the account or the webhook; empty means none
}

// An option is one choice of a select.
type option struct{ Value, Label string }

// showAutomatedBuilds shows a page of the list of automated builds with their last builds.
func (p *Pages) showAutomatedBuilds(c *gin.Context) error {
	ctx := c.Request.Context()
	version, unchanged, err := p.listVersion(c)
	if err != nil || unchanged {
		return err
	}
	content := automatedPage{
		Version: version,
		Search:  strings.TrimSpace(c.Query("search")),
		State:   c.Query("state"),
		States:  []option{{"", "All states"}},
	}
	filter := autobuild.AutomatedBuildFilter{
		Search: content.Search, After: c.Query("after"), Before: c.Query("before"), Limit: pageSize,
	}
	for _, f := range stateFilters[1:] {
		content.States = append(content.States, option{f.Name, f.Name})
		if f.Name == content.State {
			filter.States = f.States
		}
	}
	page, err := p.view(c).ListAutomatedBuilds(ctx, filter)
	if err != nil {
		return err
	}
	for _, a := range page.Rows {
		row := automatedRowOf(a)
		content.Rows = append(content.Rows, row)
		content.Active = content.Active || (row.Last.Number > 0 && !row.Last.State.Final())
	}
	content.Previous, content.Next = content.links(page)
	content.Any, err = p.anyAutomatedBuild(c, content)
	if err != nil {
		return err
	}
	if user, _ := session.User(c); administers(user) { // only administrators see the Create button
		content.Linked, err = p.Store.HasAccounts(ctx)
		if err != nil {
			return err
		}
	}
	return p.show(c, http.StatusOK, "automated", frame{Title: "Automated builds", Nav: "automated", Content: content})
}

// anyAutomatedBuild reports whether the user may read an automated build, also if the filter selects none.
func (p *Pages) anyAutomatedBuild(c *gin.Context, shown automatedPage) (bool, error) {
	if len(shown.Rows) > 0 || (shown.Search == "" && shown.State == "") {
		return len(shown.Rows) > 0, nil
	}
	all, err := p.view(c).ListAutomatedBuilds(c.Request.Context(), autobuild.AutomatedBuildFilter{Limit: 1})
	return len(all.Rows) > 0, err
}

// links returns the links to the pages before and after a page of the list.
func (a automatedPage) links(page autobuild.AutomatedBuildPage) (previous, next string) {
	link := func(place, id string) string {
		q := url.Values{place: {id}}
		for name, value := range map[string]string{"search": a.Search, "state": a.State} {
			if value != "" {
				q.Set(name, value)
			}
		}
		return "/automated-builds?" + q.Encode()
	}
	if len(page.Rows) == 0 {
		return "", ""
	}
	if page.Previous {
		previous = link("before", page.Rows[0].ID)
	}
	if page.Next {
		next = link("after", page.Rows[len(page.Rows)-1].ID)
	}
	return previous, next
}

func automatedRowOf(a autobuild.ListedAutomatedBuild) automatedRow {
	row := automatedRow{ListedAutomatedBuild: a, Bars: barsOf(a.Builds), Trouble: a.Stopped}
	if len(a.Builds) > 0 {
		row.Last = a.Builds[0]
		row.Took = timeTaken(row.Last.StartedAt, row.Last.FinishedAt)
	}
	switch {
	case row.Trouble != "":
	case a.Hook == "":
		row.Trouble = "no webhook: pushes are not received"
	case a.Hook == autobuild.HookPolled:
		row.Trouble = "polled, no webhook"
	}
	return row
}

// zeroIfNotFound returns the zero value instead of ErrNotFound.
func zeroIfNotFound[T any](v T, err error) (T, error) {
	if errors.Is(err, autobuild.ErrNotFound) {
		var none T
		return none, nil
	}
	return v, err
}

const (
	barWidth  = 6
	barGap    = 2
	barHeight = 22
)

// bars are the durations of the last builds as columns, oldest on the left.
type bars struct {
	Width, Height int
	Columns       []column
	Label         string // the same as text
}

type column struct {
	X, Y, Width, Height int
	Class, Title        string
}

// barsOf returns the columns of finished builds. builds are sorted newest first.
func barsOf(builds []autobuild.BuildSummary) bars {
	var longest time.Duration
	var ended []autobuild.BuildSummary
	for i := len(builds) - 1; i >= 0; i-- {
		if b := builds[i]; !b.StartedAt.IsZero() && !b.FinishedAt.IsZero() {
			ended = append(ended, b)
			longest = max(longest, b.FinishedAt.Sub(b.StartedAt))
		}
	}
	out := bars{Width: autobuild.ListedBuilds * (barWidth + barGap), Height: barHeight}
	shift := out.Width - len(ended)*(barWidth+barGap)
	var words []string
	for i, b := range ended {
		d := b.FinishedAt.Sub(b.StartedAt)
		height := 2
		if longest > 0 {
			height += int(int64(barHeight-2) * int64(d) / int64(longest))
		}
		title := fmt.Sprintf("build %d: %s, %s", b.Number, b.State, duration(d))
		words = append(words, title)
		out.Columns = append(out.Columns, column{
			X: shift + i*(barWidth+barGap), Y: barHeight - height, Width: barWidth, Height: height,
			Class: stateOf(b.State).Class, Title: title,
		})
	}
	out.Label = strings.Join(words, "; ")
	return out
}
