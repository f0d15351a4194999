package woodpecker

import (
	"fmt"
	"slices"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/engine/pipeline"
)

// defaultTimeout is the limit that an agent applies if a repository has none.
const defaultTimeout = time.Hour

// statusOf converts a status of Woodpecker. Only canceled_by_user, and a declined approval, are a person's
// decision. A pipeline that an agent ended is killed as well, without cancel_info: at the repository's
// timeout, or because the agent got SIGTERM. Agents report no cause, so the times decide.
// https://woodpecker-ci.org/docs/usage/terminology (status values)
func statusOf(r run, limit pipeline.Timeout) autobuild.PipelineStatus {
	gone := func(format string, args ...any) autobuild.PipelineStatus {
		return autobuild.PipelineStatus{State: autobuild.PipelineGone, Detail: fmt.Sprintf(format, args...)}
	}
	cancelled := func(detail string) autobuild.PipelineStatus {
		return autobuild.PipelineStatus{State: autobuild.PipelineCancelled, Detail: detail}
	}
	killed := r.Status == "killed" || r.Status == "canceled"
	switch {
	case slices.Contains([]string{"created", "pending", "blocked"}, r.Status):
		return autobuild.PipelineStatus{State: autobuild.PipelineQueued}
	case r.Status == "running":
		return autobuild.PipelineStatus{State: autobuild.PipelineRunning}
	case r.Status == "declined":
		return cancelled("declined on Woodpecker")
	case killed && r.Canceled.ByUser != "":
		return cancelled("canceled on Woodpecker by " + r.Canceled.ByUser)
	case killed && r.Canceled.SupersededBy != 0:
		return gone("pipeline %d of %s canceled this one: %s",
			r.Canceled.SupersededBy, limit.Repository, cancelPreviousFix(limit))
	case killed && r.Canceled.ByStep != "":
		return gone("step %s of the pipeline failed and canceled it", r.Canceled.ByStep)
	case r.Status != "success" && limit.Reached(r.Started, r.Finished):
		return autobuild.PipelineStatus{State: autobuild.PipelineTimedOut, Detail: limit.Ended()}
	case killed:
		return gone("the Woodpecker agent that ran the pipeline was stopped or restarted")
	}
	return autobuild.PipelineStatus{State: autobuild.PipelineGone} // success, failure, error, skipped
}

// cancelPreviousFix returns the fix of a repository whose pipelines cancel each other.
func cancelPreviousFix(t pipeline.Timeout) string {
	return fmt.Sprintf(
		"remove %s from the events that cancel previous pipelines of %s (cancel_previous_pipeline_events), %s",
		event, t.Repository, t.Where(),
	)
}

// timeoutOf returns the limits for pipelines in a repository.
func (c *client) timeoutOf(r repo) pipeline.Timeout {
	theirs := time.Duration(r.Timeout) * time.Minute
	if theirs <= 0 {
		theirs = defaultTimeout
	}
	return pipeline.Timeout{
		CI: "Woodpecker", Repository: r.FullName, Builder: r.FullName == c.builder,
		Theirs: theirs, Ours: c.buildTimeout,
	}
}
