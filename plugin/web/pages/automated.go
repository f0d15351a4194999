package pages

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"slipway/plugin/autobuild"
	"slipway/plugin/web/session"
)

// sparkBuilds is how many builds a sparkline shows.
const sparkBuilds = 12

type automatedPage struct {
	Rows           []automatedRow
	Search, State  string
	States         []option
	Active, Linked bool
	Total          int
}

type automatedRow struct {
	autobuild.AutomatedBuild
	Last    autobuild.Build // zero if there is no build yet
	Took    string
	Bars    bars
	Trouble string // a problem with the webhook; empty means none
}

// An option is one choice of a select.
type option struct{ Value, Label string }

// showAutomatedBuilds shows the list of automated builds with their last build.
func (p *Pages) showAutomatedBuilds(c *gin.Context) error {
	ctx := c.Request.Context()
	all, err := p.view(c).AutomatedBuilds(ctx)
	if err != nil {
		return fmt.Errorf("list automated builds: %w", err)
	}
	hooks, err := hooksByRepository(ctx, p.view(c))
	if err != nil {
		return err
	}
	content := automatedPage{
		Search: c.Query("search"),
		State:  c.Query("state"),
		Total:  len(all),
		States: []option{{"", "All states"}},
	}
	for _, f := range stateFilters[1:] {
		content.States = append(content.States, option{f.Name, f.Name})
	}
	accounts, err := p.Store.Accounts(ctx)
	if err != nil {
		return fmt.Errorf("list accounts: %w", err)
	}
	byID := map[string]autobuild.Account{}
	for _, account := range accounts {
		byID[account.ID] = account
	}
	for _, a := range all {
		row, err := readAutomatedRow(ctx, p.view(c), a, hooks[repositoryKey(a.Repository)])
		if err != nil {
			return err
		}
		row.Trouble = cmp.Or(byID[a.AccountID].Stopped(), row.Trouble)
		if !row.matches(content.Search, content.State) {
			continue
		}
		content.Rows = append(content.Rows, row)
		content.Active = content.Active || (row.Last.ID != "" && !row.Last.State.Final())
	}
	if user, _ := session.User(c); administers(user) { // only administrators see the Create button
		content.Linked = len(accounts) > 0
	}
	return p.show(c, http.StatusOK, "automated", frame{Title: "Automated builds", Nav: "automated", Content: content})
}

func readAutomatedRow(
	ctx context.Context,
	v View,
	a autobuild.AutomatedBuild,
	h autobuild.Hook,
) (automatedRow, error) {
	row := automatedRow{AutomatedBuild: a}
	builds, err := v.Builds(ctx, autobuild.BuildFilter{AutomatedBuildID: a.ID, Limit: sparkBuilds})
	if err != nil {
		return row, fmt.Errorf("builds of %s: %w", a.Repository.FullName, err)
	}
	if len(builds) > 0 {
		row.Last, row.Took = builds[0], buildTime(builds[0])
	}
	row.Bars = barsOf(builds)
	switch {
	case h.ID == "":
		row.Trouble = "no webhook: pushes are not received"
	case h.State == autobuild.HookPolled:
		row.Trouble = "polled, no webhook"
	}
	return row, nil
}

func (r automatedRow) matches(search, state string) bool {
	text := strings.ToLower(r.Repository.FullName + " " + r.Image)
	if !strings.Contains(text, strings.ToLower(strings.TrimSpace(search))) {
		return false
	}
	for _, f := range stateFilters {
		if f.Name != state || f.States == nil {
			continue
		}
		for _, s := range f.States {
			if r.Last.State == s {
				return true
			}
		}
		return false
	}
	return true
}

type repositoryID struct{ provider, id string }

func repositoryKey(r autobuild.Repository) repositoryID { return repositoryID{r.ProviderID, r.ID} }

func hooksByRepository(ctx context.Context, v View) (map[repositoryID]autobuild.Hook, error) {
	hooks, err := v.Hooks(ctx)
	if err != nil {
		return nil, fmt.Errorf("list webhooks: %w", err)
	}
	all := map[repositoryID]autobuild.Hook{}
	for _, h := range hooks {
		all[repositoryKey(h.Repository)] = h
	}
	return all, nil
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
func barsOf(builds []autobuild.Build) bars {
	var longest time.Duration
	var ended []autobuild.Build
	for i := len(builds) - 1; i >= 0; i-- {
		if b := builds[i]; !b.StartedAt.IsZero() && !b.FinishedAt.IsZero() {
			ended = append(ended, b)
			longest = max(longest, b.FinishedAt.Sub(b.StartedAt))
		}
	}
	out := bars{Width: sparkBuilds * (barWidth + barGap), Height: barHeight}
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
