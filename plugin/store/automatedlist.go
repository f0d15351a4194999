package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"slipway/plugin/autobuild"
)

// maxSearch is the largest number of bytes of a search. Names of repositories and images are shorter.
const maxSearch = 512

// listOrder is the order of a list of automated builds: by repository and image. The id makes it total.
const listOrder = `(r.full_name, a.image, a.id)`

// A listPosition is the place of an automated build in the list.
type listPosition struct{ name, image, id string }

// ListAutomatedBuilds returns a page of the automated builds that the viewer may read. The number of its
// queries does not depend on the number of rows. It reads no secret.
func (v View) ListAutomatedBuilds(
	ctx context.Context, f autobuild.AutomatedBuildFilter,
) (autobuild.AutomatedBuildPage, error) {
	if f.Limit <= 0 {
		f.Limit = 50
	}
	if f.After != "" {
		f.Before = ""
	}
	page, err := v.automatedBuildPage(ctx, f)
	// A page that reaches the beginning is shown as the first page, which is full. If no row follows the position, show the
	// first page.
	if start := f.Before != "" && !page.Previous || f.After != "" && len(page.Rows) == 0; err == nil && start {
		f.After, f.Before = "", ""
		page, err = v.automatedBuildPage(ctx, f)
	}
	if err == nil {
		err = v.addBuilds(ctx, page.Rows)
	}
	if err != nil {
		return autobuild.AutomatedBuildPage{}, fmt.Errorf("list automated builds: %w", err)
	}
	return page, nil
}

// automatedBuildPage returns a page without builds.
func (v View) automatedBuildPage(
	ctx context.Context, f autobuild.AutomatedBuildFilter,
) (page autobuild.AutomatedBuildPage, err error) {
	c := v.listConditions(f)
	order, reverse := ` ORDER BY r.full_name, a.image, a.id`, false
	if from := f.After + f.Before; from != "" {
		at, err := v.listPosition(ctx, from)
		switch {
		case errors.Is(err, autobuild.ErrNotFound): // it was deleted, or never existed
		case err != nil:
			return page, err
		default:
			reverse = f.Before != ""
			c.continueList(at, reverse)
			page.Previous, page.Next = !reverse, reverse
		}
	}
	if reverse {
		order = ` ORDER BY r.full_name DESC, a.image DESC, a.id DESC`
	}
	page.Rows, err = queryAll(ctx, v.store.read, scanListed, selectListed+c.where()+order+` LIMIT `+c.arg(f.Limit+1),
		c.args...)
	if err != nil {
		return page, err
	}
	more := len(page.Rows) > f.Limit
	if more {
		page.Rows = page.Rows[:f.Limit]
	}
	if reverse {
		slices.Reverse(page.Rows)
		page.Previous = more
		return page, nil
	}
	page.Next = more
	return page, nil
}

const selectListed = `SELECT a.id, r.full_name, a.image, COALESCE(o.id, ''), COALESCE(o.state, ''),
	o.access_token IS NOT NULL OR o.refresh_token IS NOT NULL, COALESCE(h.state, '')
	FROM repositories r JOIN automated_builds a ON a.provider_id = r.provider_id AND a.repository_id = r.id
	LEFT JOIN accounts o ON o.id = a.account_id
	LEFT JOIN hooks h ON h.provider_id = a.provider_id AND h.repository_id = a.repository_id`

func scanListed(r scanner) (one autobuild.ListedAutomatedBuild, err error) {
	var account autobuild.AccountUse
	err = r.Scan(&one.ID, &one.FullName, &one.Image, &account.ID, &account.State, &account.HasTokens, &one.Hook)
	one.Stopped = account.Stopped()
	return one, err
}

// listConditions returns the conditions of a filter without its place.
//
// The names that it searches are those of Bitbucket and of registries, in which upper case letters are ASCII. So
// LOWER finds the same on both databases.
func (v View) listConditions(f autobuild.AutomatedBuildFilter) *conditions {
	// The first term lets SQLite read the names in their order, by their index, from the first page on.
	c := &conditions{terms: []string{"r.full_name >= ''"}}
	v.restrict(c, "a.provider_id", "a.repository_id")
	if search := strings.ToLower(strings.TrimSpace(f.Search)); search != "" {
		if len(search) > maxSearch {
			search = search[:maxSearch]
		}
		c.terms = append(c.terms, `LOWER(r.full_name || ' ' || a.image) LIKE `+c.arg(likePart(search))+` ESCAPE '!'`)
	}
	if len(f.States) > 0 {
		var places []string
		for _, state := range f.States {
			places = append(places, c.arg(state))
		}
		states := strings.Join(places, ", ")
		// Most automated builds have no active build, and many never failed. EXISTS finds that in an index alone.
		c.terms = append(c.terms, `CASE WHEN EXISTS (SELECT 1 FROM builds b WHERE b.state IN (`+states+`)
			AND b.automated_build_id = a.id) THEN (SELECT b.state FROM builds b WHERE b.automated_build_id = a.id`+
			v.andMayRead(c, "b")+` ORDER BY b.number DESC LIMIT 1) END IN (`+states+`)`)
	}
	return c
}

// likePart returns the pattern of LIKE for texts that contain a part. Its escape character is "!".
func likePart(part string) string {
	return "%" + strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(part) + "%"
}

// continueList adds the condition for the rows after or before a place. The first term lets the
// database use the index on names.
func (c *conditions) continueList(at listPosition, before bool) {
	operator := ">"
	if before {
		operator = "<"
	}
	name := c.arg(at.name)
	c.terms = append(c.terms, `r.full_name `+operator+`= `+name,
		listOrder+` `+operator+` (`+name+`, `+c.arg(at.image)+`, `+c.arg(at.id)+`)`)
}

// listPosition returns the place of an automated build. It returns ErrNotFound if the viewer may not read it.
func (v View) listPosition(ctx context.Context, id string) (at listPosition, err error) {
	var c conditions
	c.terms = append(c.terms, "a.id = "+c.arg(id))
	v.restrict(&c, "a.provider_id", "a.repository_id")
	err = v.store.read.QueryRowContext(ctx, `SELECT r.full_name, a.image, a.id`+fromAutomatedBuilds+c.where(), c.args...).
		Scan(&at.name, &at.image, &at.id)
	return at, mapError(err)
}

// addBuilds adds the newest builds to the rows of a page, with one query. It looks up the number of the oldest
// build to show of each row, and then reads only builds that it shows. Both use the index of an automated
// build's builds.
func (v View) addBuilds(ctx context.Context, rows []autobuild.ListedAutomatedBuild) error {
	if len(rows) == 0 {
		return nil
	}
	var c conditions
	ids, row := make([]string, len(rows)), make(map[string]*autobuild.ListedAutomatedBuild, len(rows))
	for i := range rows {
		ids[i], row[rows[i].ID] = c.arg(rows[i].ID), &rows[i]
	}
	type buildOf struct {
		autobuild.BuildSummary
		id string
	}
	scan := func(r scanner) (b buildOf, err error) {
		err = r.Scan(&b.id, &b.Number, &b.State, &b.Ref.Kind, &b.Ref.Name, at(&b.ReceivedAt), at(&b.StartedAt),
			at(&b.FinishedAt))
		return b, err
	}
	mayReadOldest, mayRead := v.andMayRead(&c, "n"), v.andMayRead(&c, "b")
	oldest := `SELECT n.number FROM builds n WHERE n.automated_build_id = a.id` + mayReadOldest +
		` ORDER BY n.number DESC LIMIT 1 OFFSET ` + c.arg(autobuild.ListedBuilds-1)
	builds, err := queryAll(ctx, v.store.read, scan, `SELECT b.automated_build_id, b.number, b.state, b.ref_kind,
			b.ref_name, b.received_at, b.started_at, b.finished_at
		FROM (SELECT a.id, COALESCE((`+oldest+`), 0) AS oldest
			FROM automated_builds a WHERE a.id IN (`+strings.Join(ids, ", ")+`)) o
		JOIN builds b ON b.automated_build_id = o.id AND b.number >= o.oldest`+mayRead+` ORDER BY b.number DESC`, c.args...)
	if err != nil {
		return err
	}
	for _, b := range builds {
		row[b.id].Builds = append(row[b.id].Builds, b.BuildSummary)
	}
	return nil
}

// andMayRead returns the condition that the viewer may read the repository of a row of builds, after another
// condition.
func (v View) andMayRead(c *conditions, builds string) string {
	if v.viewer.Administrator {
		return ""
	}
	return ` AND ` + v.readCondition(c, builds+".provider_id", builds+".repository_id")
}
