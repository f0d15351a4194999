package metrics_test

import (
	"context"
	"database/sql"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/sirupsen/logrus/hooks/test"

	"slipway/plugin/autobuild"
	"slipway/plugin/metrics"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
	"slipway/plugin/store/storetest"
)

// env is a store with metrics and a fake clock.
type env struct {
	*store.Store
	*metrics.Metrics
	clock         *storetest.Clock
	dir           string
	overviewCalls int // number of calls of Overview
	openCircuits  []string
}

func (b *env) Overview(ctx context.Context) (autobuild.Overview, error) {
	b.overviewCalls++
	return b.Store.Overview(ctx)
}

func open(t *testing.T) *env {
	t.Helper()
	clock, dir := storetest.NewClock(), t.TempDir()
	return measure(storetest.OpenAt(t, dir, clock.Now), clock, dir)
}

func measure(s *store.Store, clock *storetest.Clock, dir string) *env {
	b := &env{Store: s, clock: clock, dir: dir}
	log, _ := test.NewNullLogger()
	b.Metrics = metrics.New(metrics.Options{
		Version: "v1", Engines: []string{"embedded",
			"drone"}, Store: b, OpenCircuits: func() []string { return b.openCircuits }, Now: b.clock.Now, Log: log,
	})
	b.Observe(b.Metrics)
	return b
}

// scrape returns the text of one scrape.
func (b *env) scrape(t *testing.T) string {
	t.Helper()
	w := httptest.NewRecorder()
	b.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("scrape: got status %d %s, want %d", w.Code, w.Body, http.StatusOK)
	}
	return w.Body.String()
}

// expect scrapes once and compares the values of series.
func (b *env) expect(t *testing.T, want map[string]float64) {
	t.Helper()
	text := b.scrape(t)
	for series, value := range want {
		found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (\S+)$`).FindStringSubmatch(text)
		if found == nil {
			t.Errorf("series %s: got none, want one", series)
			continue
		}
		if got, err := strconv.ParseFloat(found[1], 64); err != nil || got != value {
			t.Errorf("%s: got %s, want %g", series, found[1], value)
		}
	}
}

func (b *env) must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// All series exist before the first event, because an alert on a missing series never fires.
func TestAnIdleGatewayShowsZeros(t *testing.T) {
	b := open(t)
	b.expect(t, map[string]float64{
		`slipway_database_up`:                                                      1,
		`slipway_deliveries_unplanned`:                                             0,
		`slipway_deliveries_unplanned_oldest_age_seconds`:                          0,
		`slipway_deliveries_stranded`:                                              0,
		`slipway_builds_stranded`:                                                  0,
		`slipway_builds{engine="drone",state="queued"}`:                            0,
		`slipway_builds_oldest_age_seconds{engine="embedded",state="running"}`:     0,
		`slipway_tasks{kind="plan",state="dead"}`:                                  0,
		`slipway_tasks_overdue_seconds{kind="report"}`:                             0,
		`slipway_statuses_refused`:                                                 0,
		`slipway_hooks{state="polled"}`:                                            0,
		`slipway_poll_oldest_success_age_seconds`:                                  0,
		`slipway_accounts{state="broken"}`:                                         0,
		`slipway_registries{state="failing"}`:                                      0,
		`slipway_engine_circuit_open{engine="drone"}`:                              0,
		`slipway_deliveries_received_total{answer="unavailable"}`:                  0,
		`slipway_statuses_reported_total{result="given_up"}`:                       0,
		`slipway_attempts_ended_total{engine="drone",reason="lost",state="error"}`: 0,
	})
	text := b.scrape(t)
	for _, want := range []string{`slipway_build_info{goversion="go1.`, "go_goroutines ", "process_open_fds "} {
		if !strings.Contains(text, want) {
			t.Errorf("got no metric %s", want)
		}
	}
}

// The test follows one push from its delivery to its status, and advances the clock in between.
func TestAPushIsMeasured(t *testing.T) {
	b := open(t)
	ctx := t.Context()
	a := storetest.AutomatedBuild(t, b.Store, storetest.Repository("app"))
	delivery, err := b.ReceiveDelivery(ctx, autobuild.Delivery{HookID: "h", Event: "repo:push"})
	b.must(t, err)
	b.clock.Add(10 * time.Second)
	b.expect(t, map[string]float64{
		`slipway_deliveries_unplanned`: 1, `slipway_deliveries_unplanned_oldest_age_seconds`: 10,
		`slipway_tasks{kind="plan",state="waiting"}`: 1, `slipway_tasks_overdue_seconds{kind="plan"}`: 10,
	})
	plan := storetest.Push(a, storetest.Main(), "", storetest.Commit(1))
	plan.DeliveryID = delivery
	plan.Refused = []autobuild.Outcome{{Refused: "no news"}}
	builds, err := b.Plan(ctx, plan)
	b.must(t, err)
	id := builds[0].ID
	b.clock.Add(20 * time.Second)
	b.expect(t, map[string]float64{
		`slipway_deliveries_unplanned`:                                        0,
		`slipway_deliveries_answered_total{state="planned"}`:                  1,
		`slipway_decisions_total{answer="build"}`:                             1,
		`slipway_changes_total{answer="accepted",source="delivery"}`:          1,
		`slipway_changes_total{answer="refused",source="delivery"}`:           1,
		`slipway_builds{engine="embedded",state="queued"}`:                    1,
		`slipway_builds_oldest_age_seconds{engine="embedded",state="queued"}`: 30,
		`slipway_builds_stranded`:                                             0,
	})
	storetest.Start(ctx, t, b.Store, id)
	b.clock.Add(5 * time.Second)
	b.must(t, b.ClaimAttempt(ctx, id, 1, "runner"))
	b.clock.Add(40 * time.Second)
	b.expect(t, map[string]float64{
		`slipway_builds{engine="embedded",state="queued"}`:                     0,
		`slipway_builds{engine="embedded",state="running"}`:                    1,
		`slipway_builds_oldest_age_seconds{engine="embedded",state="running"}`: 40,
		`slipway_build_queue_seconds_sum{engine="embedded"}`:                   35,
		`slipway_attempt_start_seconds_sum{engine="embedded"}`:                 5,
	})
	_, err = b.FinishAttempt(
		ctx,
		autobuild.Finish{
			BuildID: id,
			Attempt: 1,
			State:   autobuild.Errored,
			Reason:  autobuild.ReasonLost,
			Retry:   true,
		},
	)
	b.must(t, err)
	storetest.Start(ctx, t, b.Store, id)
	b.must(t, b.ClaimAttempt(ctx, id, 2, "runner"))
	b.clock.Add(25 * time.Second)
	_, err = b.FinishAttempt(ctx, autobuild.Finish{BuildID: id, Attempt: 2, State: autobuild.Succeeded})
	b.must(t, err)
	b.must(t, b.MarkReported(ctx, id, 2, autobuild.Succeeded, "Bitbucket rejected it"))
	b.expect(t, map[string]float64{
		`slipway_builds{engine="embedded",state="running"}`:                           0,
		`slipway_attempts_ended_total{engine="embedded",reason="lost",state="error"}`: 1,
		`slipway_attempts_ended_total{engine="embedded",reason="",state="succeeded"}`: 1,
		`slipway_builds_ended_total{reason="",state="succeeded"}`:                     1,
		`slipway_attempt_duration_seconds_sum{engine="embedded",state="error"}`:       40,
		`slipway_attempt_duration_seconds_sum{engine="embedded",state="succeeded"}`:   25,
		`slipway_build_duration_seconds_sum{engine="embedded",state="succeeded"}`:     100,
		`slipway_build_queue_seconds_count{engine="embedded"}`:                        1, // the second attempt waited for the first
		`slipway_statuses_reported_total{result="given_up"}`:                          1,
		`slipway_statuses_refused`:                                                    1,
	})
}

// The queue time of a retried build starts at the retry.
func TestARetryIsMeasuredFromTheRetry(t *testing.T) {
	b := open(t)
	a := storetest.AutomatedBuild(t, b.Store, storetest.Repository("app"))
	build, _, err := b.CreateBuild(
		t.Context(),
		storetest.Draft(a, storetest.Main(), storetest.Commit(1), autobuild.CauseManual),
	)
	b.must(t, err)
	_, err = b.CancelBuild(t.Context(), build.ID, autobuild.ReasonUser, "")
	b.must(t, err)
	b.clock.Add(7 * 24 * time.Hour)
	_, err = b.RetryBuild(t.Context(), build.ID, "jo")
	b.must(t, err)
	b.clock.Add(3 * time.Second)
	b.expect(
		t,
		map[string]float64{
			`slipway_builds_oldest_age_seconds{engine="embedded",state="queued"}`: 3,
			`slipway_builds_ended_total{reason="user",state="cancelled"}`:         1,
		},
	)
	storetest.Start(t.Context(), t, b.Store, build.ID)
	b.must(t, b.ClaimAttempt(t.Context(), build.ID, 1, "runner"))
	b.expect(t, map[string]float64{`slipway_build_queue_seconds_sum{engine="embedded"}`: 3})
}

// Changes found by polls have their own label, and states that need an administrator are visible.
func TestStatesThatNeedAnAdministratorAreShown(t *testing.T) {
	b := open(t)
	a := storetest.AutomatedBuild(t, b.Store, storetest.Repository("app"))
	_, err := b.Plan(t.Context(), storetest.Push(a, storetest.Main(), "", storetest.Commit(1)))
	b.must(t, err)
	_, err = b.SaveAccount(
		t.Context(),
		autobuild.Account{
			ProviderID: "cloud",
			Kind:       autobuild.AccountOAuth,
			Name:       "jo",
			State:      autobuild.AccountBroken,
		},
	)
	b.must(t, err)
	_, err = b.SaveHook(
		t.Context(),
		autobuild.Hook{
			Repository: storetest.Repository("lib"),
			State:      autobuild.HookPolled,
			Problem:    "no administrator",
			PolledAt:   b.clock.Now(),
		},
	)
	b.must(t, err)
	b.clock.Add(time.Hour)
	b.openCircuits = []string{"drone"}
	b.expect(t, map[string]float64{
		`slipway_changes_total{answer="accepted",source="poll"}`: 1,
		`slipway_accounts{state="broken"}`:                       1,
		`slipway_hooks{state="polled"}`:                          1,
		`slipway_hooks_problems`:                                 1,
		`slipway_poll_oldest_success_age_seconds`:                3600,
		`slipway_engine_circuit_open{engine="drone"}`:            1,
		`slipway_engine_circuit_open{engine="embedded"}`:         0,
	})
}

// The stranded gauges show a build or delivery without a task. The rest of the program must
// prevent it.
func TestALostHandOverShows(t *testing.T) {
	b := open(t)
	a := storetest.AutomatedBuild(t, b.Store, storetest.Repository("app"))
	_, err := b.Plan(t.Context(), storetest.Push(a, storetest.Main(), "", storetest.Commit(1)))
	b.must(t, err)
	_, err = b.ReceiveDelivery(t.Context(), autobuild.Delivery{HookID: "h", Event: "repo:push"})
	b.must(t, err)
	b.expect(t, map[string]float64{`slipway_builds_stranded`: 0, `slipway_deliveries_stranded`: 0})
	// the store has no way to lose one
	db, err := sql.Open("sqlite", filepath.Join(b.dir, "slipway.db")+"?_pragma=busy_timeout(5000)")
	b.must(t, err)
	defer db.Close()
	_, err = db.ExecContext(t.Context(), `DELETE FROM tasks`)
	b.must(t, err)
	b.clock.Add(time.Minute)
	b.expect(t, map[string]float64{`slipway_builds_stranded`: 1, `slipway_deliveries_stranded`: 1})
}

func TestScrapingCostsTheDatabaseOneLookInAFewSeconds(t *testing.T) {
	b := open(t)
	for range 10 {
		b.scrape(t)
	}
	if b.overviewCalls != 1 {
		t.Errorf("queries of ten concurrent scrapes: got %d, want 1", b.overviewCalls)
	}
	b.clock.Add(6 * time.Second)
	b.scrape(t)
	if b.overviewCalls != 2 {
		t.Errorf("queries after six seconds: got %d, want 2", b.overviewCalls)
	}
}

// If the database fails, database_up is 0 and no stale values are exported.
func TestADatabaseThatIsGoneShows(t *testing.T) {
	clock, dir := storetest.NewClock(), t.TempDir()
	sealer, err := seal.LoadOrCreate(filepath.Join(dir, "secret.key"), true)
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(),
		store.Options{Path: filepath.Join(dir, "slipway.db"), Sealer: sealer, Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	b := measure(s, clock, dir)
	b.expect(t, map[string]float64{`slipway_database_up`: 1})
	b.must(t, b.Close())
	b.clock.Add(time.Minute)
	b.Received("unavailable")
	b.expect(
		t,
		map[string]float64{`slipway_database_up`: 0, `slipway_deliveries_received_total{answer="unavailable"}`: 1},
	)
	if text := b.scrape(t); strings.Contains(text, "\nslipway_builds{") {
		t.Error("number of builds without a database: got a value, want none")
	}
}

// Values from clients never become labels, because they would fill the memory of the scraper.
func TestLabelsAreBounded(t *testing.T) {
	b := open(t)
	for i := range 1000 {
		b.Requested("MADEUP"+strconv.Itoa(i), "", http.StatusNotFound, time.Millisecond)
	}
	b.Requested("POST", "/hooks/bitbucket/:id", http.StatusAccepted, 30*time.Millisecond)
	b.expect(t, map[string]float64{
		`slipway_http_requests_total{code="404",method="other",route="none"}`:                                 1000,
		`slipway_http_requests_total{code="202",method="POST",route="/hooks/bitbucket/:id"}`:                  1,
		`slipway_http_request_duration_seconds_bucket{method="POST",route="/hooks/bitbucket/:id",le="0.025"}`: 0,
		`slipway_http_request_duration_seconds_bucket{method="POST",route="/hooks/bitbucket/:id",le="0.05"}`:  1,
	})
	if text := b.scrape(t); strings.Contains(text, "MADEUP") {
		t.Error("label of a made-up method: got its name, want other")
	}
}

func TestNamesFollowPrometheusPractice(t *testing.T) {
	b := open(t)
	everything(t, b)
	problems, err := promlint.New(strings.NewReader(b.scrape(t))).Lint()
	b.must(t, err)
	for _, p := range problems {
		t.Errorf("metric %s: got problem %s, want none", p.Metric, p.Text)
	}
}

// everything causes every event once, so that every series exists.
func everything(t *testing.T, b *env) {
	t.Helper()
	ctx := t.Context()
	a := storetest.AutomatedBuild(t, b.Store, storetest.Repository("app"))
	build, attempt := storetest.Started(t, b.Store, a, "", storetest.Commit(1))
	b.must(t, b.ClaimAttempt(ctx, build.ID, attempt.Number, "runner"))
	_, err := b.FinishAttempt(ctx, autobuild.Finish{BuildID: build.ID, Attempt: 1, State: autobuild.Succeeded})
	b.must(t, err)
	b.Requested("GET", "/builds", http.StatusOK, time.Millisecond)
}
