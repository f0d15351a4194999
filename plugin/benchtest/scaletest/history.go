package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"slipway/plugin/autobuild"
)

// chunk is the number of rows of one statement.
const chunk = 250_000

// fillHistory inserts deliveries and builds with all that belongs to them. Every second delivery led to a build. Every
// tenth build is of the first automated build, and the others are spread over all. The databases make the rows, from
// a number: this is ten times as fast as sending them, and always makes the same.
func fillHistory(ctx context.Context, db *sql.DB, s size, at history) error {
	texts, err := newHistoryTexts()
	if err != nil {
		return err
	}
	for _, one := range []struct {
		rows      int
		statement string
		args      []any
	}{
		{s.deliveries, insertDeliveries, []any{texts.header, texts.body, texts.outcomes}},
		{s.builds, insertBuilds, []any{texts.stages}},
		{s.builds, insertAttempts, nil},
		{s.builds, insertReports, nil},
		{s.builds, insertTransitions, nil},
		{s.builds, insertMoves, nil},
		{s.automatedBuilds, insertHeads, nil},
		{s.automatedBuilds / 100, insertDeadTasks, nil},
	} {
		for first := 1; first <= one.rows; first += chunk {
			last := min(first+chunk-1, one.rows)
			if _, err := db.ExecContext(ctx, fillIn(one.statement, s, at, first, last), one.args...); err != nil {
				return fmt.Errorf("%.40s: %w", one.statement, err)
			}
		}
	}
	_, err = db.ExecContext(ctx, fmt.Sprintf(`UPDATE counters SET value = CASE name WHEN 'builds' THEN %d ELSE %d END
		WHERE name IN ('builds', 'tasks')`, s.builds, 4*s.deliveries))
	return err
}

// historyTexts are the large columns.
type historyTexts struct {
	header, outcomes, stages string
	body                     []byte
}

func newHistoryTexts() (t historyTexts, err error) {
	text := func(v any) string {
		encoded, encodeErr := json.Marshal(v)
		if encodeErr != nil {
			err = encodeErr
		}
		return string(encoded)
	}
	t.header = text(map[string][]string{
		"X-Event-Key": {"repo:push"}, "X-Request-Uuid": {"4d3f6b1a-1111-2222-3333-444455556666"},
		"User-Agent": {"Bitbucket-Webhooks/2.0"}, "Content-Type": {"application/json"},
	})
	t.outcomes = text([]autobuild.Outcome{{
		Change: autobuild.Change{
			Kind: autobuild.Branch, Name: "main", Action: autobuild.Updated, Old: strings.Repeat("a", 40),
			Commit: strings.Repeat("b", 40), Message: "Say hello to all of them",
		},
		Rules: []autobuild.RuleDecision{{
			AutomatedBuildID: automatedID(0), BuildNumber: 1,
			Decision: autobuild.Decision{Rule: ruleID, Build: true, Publish: true, Tags: []string{"latest"}},
		}},
	}})
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var stages []autobuild.Stage
	for _, name := range []string{"fetch", "build", "push"} {
		stages = append(stages, autobuild.Stage{Name: name, StartedAt: begin, FinishedAt: begin.Add(time.Second)})
	}
	t.stages = text(stages)
	encoder, newErr := zstd.NewWriter(nil)
	if newErr != nil {
		return t, newErr
	}
	t.body = encoder.EncodeAll(
		[]byte(`{"push": {"changes": [`+strings.Repeat(`{"new": {"name": "main"}},`, 100)+`]}}`),
		nil,
	)
	return t, err
}

// fillIn replaces the names in braces of a statement.
func fillIn(statement string, s size, at history, first, last int) string {
	step := int64(at.days) * 24 * time.Hour.Milliseconds() / int64(s.builds)
	automated := fmt.Sprintf(`CASE WHEN i %% 10 = 0 THEN 0 ELSE i %% %d END`, s.automatedBuilds)
	padded := func(prefix string, width int, suffix string) string {
		// As automatedID and others: the width of the number is fixed.
		return fmt.Sprintf(`'%s%s' || CAST(1000000 + a AS TEXT) || '%s'`, prefix, strings.Repeat("0", width-7), suffix)
	}
	return strings.NewReplacer(
		`{numbers}`, fmt.Sprintf(`WITH RECURSIVE numbers (i) AS (SELECT CAST(%d AS BIGINT)
			UNION ALL SELECT i + 1 FROM numbers WHERE i < %d)`, first, last),
		`{of build}`, `of_build AS (SELECT i, `+automated+` AS a FROM numbers)`,
		`{of delivery}`, `of_delivery AS (SELECT n, i, `+automated+` AS a
			FROM (SELECT i AS n, (i + 1) / 2 AS i FROM numbers) halves)`,
		`{build}`, scatter("b", "i"),
		`{delivery}`, scatter("d", "n"),
		`{delivery of build}`, scatter("d", "2 * i"),
		`{time}`, fmt.Sprintf(`%d + i * %d`, at.now.AddDate(0, 0, -at.days).UnixMilli(), step),
		`{automated}`, padded("a", 25, ""),
		`{hook}`, padded("h", 25, ""),
		`{repository}`, padded("{", 36, "}"),
		`{provider}`, `'`+providerID+`'`,
		`{account}`, `'`+accountID+`'`,
		`{rule}`, `'`+ruleID+`'`,
		`{commit}`, `'00' || CAST(1000000000000000000 + i AS TEXT) || CAST(1000000000000000000 + i AS TEXT)`,
		`{earlier commit}`, `'00' || CAST(1000000000000000000 + i - 1 AS TEXT)
			|| CAST(1000000000000000000 + i - 1 AS TEXT)`,
		`{state}`, `CASE WHEN i % 100 < 85 THEN 'succeeded' WHEN i % 100 < 93 THEN 'failed'
			WHEN i % 100 < 96 THEN 'error' ELSE 'cancelled' END`,
	).Replace(statement)
}

const insertDeliveries = `INSERT INTO deliveries (id, hook_id, event, request_id, header, body, received_at, state,
		reason, outcomes, planned_at)
	{numbers}, {of delivery}
	SELECT {delivery}, {hook}, 'repo:push', 'request', CAST($1 AS TEXT), $2, {time} + n % 2, 'planned', '',
		CAST($3 AS TEXT), {time} + 50 FROM of_delivery`

const insertBuilds = `INSERT INTO builds (id, number, automated_build_id, account_id, rule_id, provider_id,
		repository_id, ref_kind, ref_name, seq, commit_hash, commit_message, commit_author, commit_date, image, tags,
		dockerfile, context, build_args, platforms, caching, publish, cause, cause_key, caused_by, delivery_id, state,
		reason, detail, attempt, tries, digest, size, received_at, created_at, started_at, finished_at, stages)
	{numbers}, {of build}
	SELECT {build}, i, {automated}, {account}, {rule}, {provider}, {repository}, 'branch', 'main', i, {commit},
		'Say hello to all of them', 'Jo <jo@example.com>', {time}, 'registry.example.com/app', '["latest"]',
		'Dockerfile', '.', 'null', 'null', TRUE, TRUE, 'push', '', '', {delivery of build}, {state},
		'', '', 1, 1, 'sha256:00' || {commit}, 12345678, {time}, {time} + 60, {time} + 500, {time} + 90000,
		CAST($1 AS TEXT) FROM of_build`

const insertAttempts = `INSERT INTO attempts (build_id, number, engine, engine_ref, token_hash, state, reason, detail,
		runner_id, digest, event_seq, created_at, claimed_at, heartbeat_at, deadline, finished_at)
	{numbers}, {of build}
	SELECT {build}, 1, 'embedded', '', {commit}, {state}, '', '', 'runner', '', 9, {time} + 100, {time} + 500,
		{time} + 90000, {time} + 3600000, {time} + 90000 FROM of_build`

const insertReports = `INSERT INTO reports (build_id, attempt, state, problem, reported_at)
	{numbers}, {of build}
	SELECT {build}, 1, {state}, '', {time} + 90100 FROM of_build`

const insertTransitions = `INSERT INTO transitions (provider_id, repository_id, kind, name, seq, old_head, new_head,
		created_at)
	{numbers}, {of build}
	SELECT {provider}, {repository}, 'branch', 'main', i, {earlier commit}, {commit}, {time} FROM of_build`

const insertMoves = `INSERT INTO answered_moves (provider_id, repository_id, kind, name, old_head, new_head)
	{numbers}, {of build}
	SELECT {provider}, {repository}, 'branch', 'main', {earlier commit}, {commit} FROM of_build`

const insertHeads = `INSERT INTO refs (provider_id, repository_id, kind, name, head, seq)
	{numbers}, heads AS (SELECT i, i - 1 AS a FROM numbers)
	SELECT {provider}, {repository}, 'branch', 'main', {commit}, 1000000000 FROM heads`

const insertDeadTasks = `INSERT INTO tasks (id, kind, arg, key, lane, state, attempt, due_at, error, created_at)
	{numbers}, {of build}
	SELECT i, 'report', {build}, '', '', 'dead', 20, {time}, 'no answer', {time} FROM of_build`
