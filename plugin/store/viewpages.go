package store

import (
	"context"
	"fmt"
	"strings"

	"slipway/plugin/autobuild"
)

// fewRepositories is the largest number of repositories whose newest rows a list reads one by one. A user who may read
// more repositories finds a page of rows soon among the newest ones of all.
const fewRepositories = 100

// readsFew reports whether the viewer may read only a few repositories. Their rows can be so rare among all that a
// list that looks for them in the order of time would read most rows.
func (v View) readsFew(ctx context.Context) (few bool, err error) {
	if v.viewer.Administrator {
		return false, nil
	}
	var n int
	err = v.store.read.QueryRowContext(ctx, `SELECT COUNT(*) FROM (SELECT 1 FROM permissions
		WHERE user_id = $1 AND checked_at > $2 LIMIT $3) readable`,
		v.viewer.UserID, ms(v.store.Now().Add(-autobuild.PermissionsKept)), fewRepositories+1).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("count the repositories of user %s: %w", v.viewer.UserID, err)
	}
	return n <= fewRepositories, nil
}

// readable returns the condition on permissions p that they are valid ones of the viewer.
func (v View) readable(c *conditions) string {
	return ` WHERE p.user_id = ` + c.arg(v.viewer.UserID) +
		` AND p.checked_at > ` + c.arg(ms(v.store.Now().Add(-autobuild.PermissionsKept)))
}

// whereNewestBuilds returns the WHERE clause for the newest builds of each repository that the viewer may read, a page of
// each, and of each state. The newest ones of all are among them. Naming all states lets one index serve all filters,
// and SQLite follows the order of a CROSS JOIN.
func (v View) whereNewestBuilds(c *conditions, f autobuild.BuildFilter) string {
	states := f.States
	if len(states) == 0 {
		states = []autobuild.State{
			autobuild.Queued, autobuild.Starting, autobuild.Running, autobuild.Succeeded, autobuild.Failed,
			autobuild.Cancelled, autobuild.Errored,
		}
	}
	before := ""
	if f.Before > 0 {
		before = ` AND %[1]s.number < ` + c.arg(f.Before)
	}
	skipped, readable := c.arg(f.Limit-1), v.readable(c)
	var perState []string
	for _, state := range states {
		match := ` %[1]s.provider_id = p.provider_id AND %[1]s.repository_id = p.repository_id AND %[1]s.state = ` +
			c.arg(state) + before
		perState = append(perState, `SELECT n.number FROM permissions p CROSS JOIN builds n`+readable+
			` AND`+fmt.Sprintf(match, "n")+` AND n.number >= COALESCE((SELECT m.number FROM builds m WHERE`+
			fmt.Sprintf(match, "m")+` ORDER BY m.number DESC LIMIT 1 OFFSET `+skipped+`), 0)`)
	}
	return ` WHERE b.number IN (SELECT number FROM (` + strings.Join(perState, ` UNION ALL `) + `) readable
		ORDER BY number DESC LIMIT ` + c.arg(f.Limit) + `)`
}

// whereNewestDeliveries returns the WHERE clause for the newest deliveries of each webhook that the viewer may read, a
// page of each. The newest ones of all are among them.
func (v View) whereNewestDeliveries(c *conditions, f autobuild.DeliveryFilter) string {
	before := ""
	if f.Before != "" {
		before = ` AND (%[1]s.received_at, %[1]s.id) < (SELECT received_at, id FROM deliveries WHERE id = ` +
			c.arg(f.Before) + `)`
	}
	skipped := c.arg(f.Limit - 1)
	return ` WHERE id IN (SELECT id FROM (SELECT n.id, n.received_at FROM permissions p
		JOIN hooks h ON h.provider_id = p.provider_id AND h.repository_id = p.repository_id
		JOIN deliveries n ON n.hook_id = h.id` + ofAlias(before, "n") + `
			AND n.received_at >= COALESCE((SELECT m.received_at FROM deliveries m WHERE m.hook_id = h.id` +
		ofAlias(before, "m") + ` ORDER BY m.received_at DESC, m.id DESC LIMIT 1 OFFSET ` + skipped + `), 0)` +
		v.readable(c) + `) readable ORDER BY received_at DESC, id DESC LIMIT ` + c.arg(f.Limit) + `)`
}

// ofAlias fills in the name that a statement uses for a table.
func ofAlias(terms, alias string) string {
	if terms == "" {
		return ""
	}
	return fmt.Sprintf(terms, alias)
}
