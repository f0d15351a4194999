package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"slipway/plugin/autobuild"
)

// waitBuckets returns the buckets for waiting times in seconds, from an idle installation to a delay
// that needs attention. workBuckets reach the default timeout of an attempt.
func waitBuckets() []float64 {
	return []float64{0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200}
}

func workBuckets() []float64 {
	return []float64{1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400}
}

// events holds the counters and histograms of events since the process started.
type events struct {
	received, answered, changes, decisions *prometheus.CounterVec
	queue, start, attempts, builds         *prometheus.HistogramVec
	attemptsEnded, buildsEnded, statuses   *prometheus.CounterVec
}

func newEvents(engines []string) events {
	e := events{
		received: counter("deliveries_received_total",
			"Webhook requests by result: stored, ping, unauthorized, too_large, unavailable.", "answer"),
		answered: counter("deliveries_answered_total",
			"Deliveries by result: planned, ignored, refused, failed.", "state"),
		changes: counter(
			"changes_total",
			"Changes of refs from deliveries or polls, by whether they were accepted as new.",
			"source",
			"answer",
		),
		decisions: counter("decisions_total", "Decisions of rules on accepted changes: build or skip.", "answer"),
		queue: histogram("build_queue_seconds",
			"Time from the push, or a user's retry, to the first claim by a runner.", waitBuckets(), "engine"),
		start: histogram("attempt_start_seconds", "Time from the creation of an attempt to its claim by a runner.",
			waitBuckets(), "engine"),
		attempts: histogram(
			"attempt_duration_seconds",
			"Time from an attempt's claim to its end.",
			workBuckets(),
			"engine",
			"state",
		),
		builds: histogram("build_duration_seconds", "Time from the push, or a user's retry, to the build's end.",
			workBuckets(), "engine", "state"),
		attemptsEnded: counter(
			"attempts_ended_total",
			"Attempts that ended, by state and reason; reason lost = the runner stopped reporting.",
			"engine",
			"state",
			"reason",
		),
		buildsEnded: counter("builds_ended_total", "Builds that ended, by state and reason.", "state", "reason"),
		statuses: counter("statuses_reported_total",
			"Build statuses by result: told = sent to Bitbucket, given_up = refused.", "result"),
	}
	e.initialize(engines)
	return e
}

// initialize creates most series with 0, because the rate of a series needs a value before the
// first event.
func (e events) initialize(engines []string) {
	for _, answer := range []string{"stored", "ping", "unauthorized", "too_large", "unavailable"} {
		e.received.WithLabelValues(answer)
	}
	for _, state := range []autobuild.DeliveryState{autobuild.DeliveryPlanned, autobuild.DeliveryIgnored, autobuild.DeliveryRefused,
		autobuild.DeliveryFailed} {
		e.answered.WithLabelValues(string(state))
	}
	for _, engine := range engines {
		e.queue.WithLabelValues(engine)
		e.start.WithLabelValues(engine)
		e.attemptsEnded.WithLabelValues(engine, string(autobuild.Errored), string(autobuild.ReasonLost))
	}
	for _, answer := range []string{"build", "skip"} {
		e.decisions.WithLabelValues(answer)
	}
	e.buildsEnded.WithLabelValues(string(autobuild.Errored), string(autobuild.ReasonInfrastructure))
	e.statuses.WithLabelValues("told")
	e.statuses.WithLabelValues("given_up")
}

func (e events) all() []prometheus.Collector {
	return []prometheus.Collector{
		e.received, e.answered, e.changes, e.decisions, e.queue, e.start, e.attempts, e.builds,
		e.attemptsEnded, e.buildsEnded, e.statuses,
	}
}

// Received counts a webhook request.
func (e events) Received(answer string) { e.received.WithLabelValues(answer).Inc() }

// Planned counts the result of a delivery or a poll.
func (e events) Planned(p autobuild.Plan) {
	source := "poll"
	if p.DeliveryID != "" {
		source = "delivery"
		e.answered.WithLabelValues(string(p.State)).Inc()
	}
	e.changes.WithLabelValues(source, "accepted").Add(float64(len(p.Moves)))
	e.changes.WithLabelValues(source, "refused").Add(float64(len(p.Refused)))
	for _, m := range p.Moves {
		for _, r := range m.Outcome.Rules {
			answer := "skip"
			if r.Decision.Build {
				answer = "build"
			}
			e.decisions.WithLabelValues(answer).Inc()
		}
	}
}

// Claimed measures how long a build waited for its runner.
func (e events) Claimed(b autobuild.Build, a autobuild.Attempt) {
	observe(e.start.WithLabelValues(a.Engine), a.CreatedAt, a.ClaimedAt)
	if b.Tries == 1 { // later attempts would also count the time of the earlier ones
		observe(e.queue.WithLabelValues(a.Engine), b.AskedAt(), a.ClaimedAt)
	}
}

// Ended counts and measures the end of an attempt, if there was one, and of its build, if it is
// final.
func (e events) Ended(b autobuild.Build, a autobuild.Attempt) {
	if a.Number > 0 {
		e.attemptsEnded.WithLabelValues(a.Engine, string(a.State), string(a.Reason)).Inc()
		if !a.ClaimedAt.IsZero() {
			observe(e.attempts.WithLabelValues(a.Engine, string(a.State)), a.ClaimedAt, a.FinishedAt)
		}
	}
	if !b.State.Final() {
		return
	}
	e.buildsEnded.WithLabelValues(string(b.State), string(b.Reason)).Inc()
	if a.Number > 0 {
		observe(e.builds.WithLabelValues(a.Engine, string(b.State)), b.AskedAt(), b.FinishedAt)
	}
}

// Reported counts a status that Bitbucket accepted, or finally refused.
func (e events) Reported(_ autobuild.State, problem string) {
	if problem != "" {
		e.statuses.WithLabelValues("given_up").Inc()
		return
	}
	e.statuses.WithLabelValues("told").Inc()
}

// observe measures a duration. It is 0 if the clock was set back.
func observe(o prometheus.Observer, from, to time.Time) { o.Observe(max(to.Sub(from), 0).Seconds()) }
