package drone

import (
	"cmp"
	"strings"
	"time"

	"github.com/drone/drone-go/drone"

	"slipway/plugin/autobuild"
	"slipway/plugin/engine/pipeline"
)

const (
	// cancelExitCode is the exit code that Drone's server gives the steps of a canceled build. Runners give
	// 137 to steps that they kill.
	cancelExitCode = 130
	// killedVersion is the version of a build that its runner ended: it was created, started and ended. A
	// cancellation by API is one more change.
	killedVersion = 3
)

// mayHaveTimedOut reports whether the repository's timeout may be the cause of a build's end.
func mayHaveTimedOut(b *drone.Build) bool {
	switch b.Status {
	case drone.StatusKilled, drone.StatusError, drone.StatusFailing:
		return true
	}
	return false
}

// statusOf converts a status of Drone. Drone has one status for a build that a person canceled, that ran
// until the repository's timeout, and that its runner ended for another cause: killed. It stores no cause.
// The times show the timeout. A cancellation by API leaves the server's exit code in a step, or one change
// of the build more. Both can be missing if server and runner report at the same moment; then the build is
// lost, and is started again. Drone's own runners finish their builds when they get SIGTERM. One that is
// killed reports nothing: Drone shows its build as running, and the silence of our runner ends the attempt.
// https://docs.drone.io/api/overview/
// https://github.com/harness/harness/blob/drone/handler/api/repos/builds/cancel.go
func statusOf(b *drone.Build, limit pipeline.Timeout) autobuild.PipelineStatus {
	gone := func(detail string) autobuild.PipelineStatus {
		return autobuild.PipelineStatus{State: autobuild.PipelineGone, Detail: detail}
	}
	cancelled := func(detail string) autobuild.PipelineStatus {
		return autobuild.PipelineStatus{State: autobuild.PipelineCancelled, Detail: detail}
	}
	s := stageOf(b)
	switch {
	case b.Status == drone.StatusPending, b.Status == drone.StatusBlocked, b.Status == drone.StatusWaiting:
		return autobuild.PipelineStatus{State: autobuild.PipelineQueued}
	case b.Status == drone.StatusRunning:
		return autobuild.PipelineStatus{State: autobuild.PipelineRunning}
	case b.Status == drone.StatusDeclined:
		return cancelled("declined on Drone")
	case mayHaveTimedOut(b) && s != nil && limit.Reached(s.Started, s.Stopped):
		return autobuild.PipelineStatus{State: autobuild.PipelineTimedOut, Detail: limit.Ended()}
	case b.Status == drone.StatusKilled && (s == nil || s.Status == drone.StatusSkipped):
		return cancelled("canceled on Drone before a runner took it")
	case b.Status == drone.StatusKilled && (canceledByServer(s) || b.Version > killedVersion):
		return cancelled("canceled on Drone")
	case b.Status == drone.StatusKilled:
		return gone("the Drone runner" + machine(s) + " that ran the pipeline was stopped or restarted")
	case b.Status == drone.StatusError && errorOf(b) != "":
		return gone("Drone could not run the pipeline: " + errorOf(b))
	}
	return gone("") // success, failure, error, skipped
}

// stageOf returns the stage of our pipeline, or nil. Our pipelines have one.
func stageOf(b *drone.Build) *drone.Stage {
	if len(b.Stages) == 0 {
		return nil
	}
	return b.Stages[0]
}

// canceledByServer reports whether the server ended a stage's steps, and not the runner.
func canceledByServer(s *drone.Stage) bool {
	for _, step := range s.Steps {
		if step != nil && step.ExitCode == cancelExitCode {
			return true
		}
	}
	return false
}

func machine(s *drone.Stage) string {
	if s.Machine == "" {
		return ""
	}
	return " on " + truncated(s.Machine)
}

// errorOf returns the message of a build that Drone or its runner could not run.
func errorOf(b *drone.Build) string {
	message := b.Error
	if s := stageOf(b); s != nil {
		message = cmp.Or(s.Error, message)
	}
	return strings.Join(strings.Fields(truncated(message)), " ")
}

// timeoutOf returns the limits for pipelines in a repository.
func (c *client) timeoutOf(r *drone.Repo) pipeline.Timeout {
	return pipeline.Timeout{
		CI:         "Drone",
		Repository: r.Slug,
		Builder:    r.Slug == c.builder,
		Theirs:     time.Duration(r.Timeout) * time.Minute,
		Ours:       c.buildTimeout,
	}
}
