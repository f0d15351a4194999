package store_test

import "slices"

// planExceptions returns the statements that may read or sort all rows of a table, and why.
func planExceptions() []planException {
	return slices.Concat(pages(), unfinishedWork(), ofOneSubject(), wholeLists(), rareStatements(), openExceptions())
}

func costs(all ...string) []string { return all }

// pages end after the rows that they show, in the order of an index. For several states, they sort one page of each.
func pages() []planException {
	return []planException{
		{`b.repository_id ORDER BY b.number DESC LIMIT $1`, costs("scan builds"), "in the order of an index"},
		{
			`FROM deliveries ORDER BY received_at DESC, id DESC LIMIT $1`,
			costs("scan deliveries"),
			"in the order of an index",
		},
		{
			`FROM deliveries WHERE id IN (SELECT id FROM (SELECT n.id, n.received_at FROM permissions p`,
			costs("sort", "scan deliveries"),
			"a page of each of few repositories; the test claims that a user may read 5,000",
		},
		{`WHERE b.number IN (SELECT number FROM (SELECT`, costs("sort"), "one page for each state"},
		{
			`FROM repositories r JOIN automated_builds a ON`,
			costs("sort"),
			"automated builds of one repository, in the order of an index of the names",
		},
		{`AND b.number >= o.oldest`, costs("sort"), "twelve builds for each row of a page"},
	}
}

// unfinishedWork reads and sorts queued or active builds, or tasks that were not done. Their number depends on the
// work, not on the age or the size of the installation.
func unfinishedWork() []planException {
	return []planException{
		{`WHERE b.state = 'queued' GROUP BY COALESCE(a.engine, '')`, costs("sort"), "queued builds"},
		{`COUNT(DISTINCT CASE WHEN state = 'queued'`, costs("sort"), "queued builds"},
		{`FROM attempts WHERE finished_at = 0`, costs("sort"), "active attempts"},
		{`WHERE t.engine = $1 AND t.finished_at = 0 GROUP BY`, costs("sort"), "active attempts"},
		{`AND b.state IN ('queued', 'starting', 'running') ORDER BY`, costs("sort"), "active builds"},
		{`FROM tasks GROUP BY kind, state`, costs("scan tasks", "sort"), "tasks, for each scrape of the metrics"},
		{`COUNT(CASE WHEN state = 'dead' THEN 1 END) FROM tasks`, costs("scan tasks"), "tasks, only in tests"},
	}
}

// ofOneSubject sorts the few rows of one automated build, repository or user, or one row.
func ofOneSubject() []planException {
	return []planException{
		{`FROM rules WHERE automated_build_id = $1`, costs("sort"), "rules of one automated build"},
		{`WHERE a.id = $1`, costs("sort"), "one automated build, or its rules"},
		{`WHERE a.provider_id = $1 AND a.repository_id = $2`, costs("sort"), "automated builds of one repository"},
		{`FROM reappeared_refs WHERE automated_build_id = $1`, costs("sort"), "refs of one automated build"},
		{`WHERE h.id = $1`, costs("sort"), "one webhook"},
	}
}

// wholeLists are lists that a page shows whole, or counts of them. Their tables have a row for each person, linked
// account, credential or webhook.
func wholeLists() []planException {
	return []planException{
		{
			`SELECT COUNT(*) FROM accounts WHERE state = $1`,
			costs("scan accounts", "scan registries"),
			"counts at a scrape",
		},
		{`FROM accounts ORDER BY linked_at, id`, costs("scan accounts", "sort"), "all linked accounts"},
		{`FROM registries ORDER BY host`, costs("scan registries", "sort"), "all credentials"},
		{`FROM users u ORDER BY`, costs("scan users", "sort"), "all people"},
		{
			`COUNT(*) FROM sessions WHERE expires_at > $1 GROUP BY user_id`,
			costs("scan sessions"),
			"sessions of all people",
		},
		{
			`SELECT account_id, COUNT(*) FROM automated_builds`,
			costs("scan automated_builds"),
			"counts of an index: 1 ms for 10,000",
		},
		{`SELECT EXISTS (SELECT 1 FROM automated_builds)`, costs("scan automated_builds"), "ends at the first row"},
		{`SELECT EXISTS (SELECT 1 FROM accounts)`, costs("scan accounts"), "ends at the first row"},
		{`SELECT EXISTS (SELECT 1 FROM hooks h`, costs("scan hooks"), "ends at the first row that the viewer may read"},
		{
			`FROM repositories r JOIN hooks h ON`,
			costs("scan hooks", "scan repositories", "sort"),
			"webhooks without secrets, for the schedule of polls",
		},
		{`FROM hooks GROUP BY state`, costs("scan hooks", "sort"), "counts at a scrape: 3 ms for 10,000"},
		{`FROM providers ORDER BY`, costs("sort"), "a few providers"},
		{`FROM leases g`, costs("sort"), "a few gateways"},
	}
}

// rareStatements run at the start, once a day, or for a command.
func rareStatements() []planException {
	return []planException{
		{`WHERE due_at = $2 AND NOT EXISTS ( SELECT 1 FROM tasks e`, costs("scan tasks"), "at the start"},
		{`SET due_at = $1 WHERE state = 'running' AND gateway = $2`, costs("scan tasks"), "at the start"},
		{
			`(SELECT x.engine AS engine, MAX(y.number)`,
			costs("scan attempts", "scan automated_builds", "scan builds", "sort"),
			"doctor",
		},
		{`substr(r.full_name, 1, $3) <> $4`, costs("scan automated_builds"), "if one workspace has all places but one"},
	}
}

// openExceptions are to go: these statements become slow.
func openExceptions() []planException {
	all := costs("scan automated_builds", "scan environment", "scan hooks", "scan repositories", "scan rules", "sort")
	return []planException{
		{
			`b.repository_id WHERE EXISTS (SELECT 1 FROM permissions p`,
			costs("scan builds", "sort"),
			"builds that a user of more than 100 repositories may read",
		},
		{
			`FROM deliveries WHERE EXISTS (SELECT 1 FROM hooks h`,
			costs("scan deliveries"),
			"deliveries that a user of more than 100 repositories may read",
		},
		{
			`FROM automated_builds a JOIN repositories r ON r.provider_id = a.provider_id AND r.id = a.repository_id`,
			all,
			"all automated builds",
		},
		{
			`FROM hooks h JOIN repositories r ON r.provider_id = h.provider_id AND r.id = h.repository_id`,
			all,
			"all webhooks",
		},
	}
}
