package reporter

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"slipway/config/text"
	"slipway/plugin/autobuild"
)

// statusOf returns the status of a build in Bitbucket's terms. The connection shortens texts that
// are too long.
func statusOf(b autobuild.Build, instanceID, baseURL string) autobuild.Status {
	s := autobuild.Status{
		Key:         autobuild.StatusKey(instanceID, b.AutomatedBuildID, b.RuleID, "build", b.Ref.Full()),
		State:       autobuild.StatusOf(b.State),
		Name:        nameOf(b),
		Description: text.OneLine(describe(b), 0),
		URL:         baseURL + "/builds/" + strconv.FormatInt(b.Number, 10),
	}
	if b.Ref.Kind == autobuild.Branch {
		s.RefName = b.Ref.Name
	}
	return s
}

// nameOf returns the name of a status, for example "registry.example.com/acme/app:1.2 (rule
// releases)".
func nameOf(b autobuild.Build) string {
	name := b.Image
	if len(b.Tags) > 0 {
		name += ":" + b.Tags[0]
	}
	return fmt.Sprintf("%s (rule %s)", name, b.RuleID)
}

// describe returns a one-line description of a build's state.
func describe(b autobuild.Build) string {
	switch b.State {
	case autobuild.Queued:
		if b.Detail != "" {
			return "waiting: " + b.Detail
		}
		return "waiting to be built"
	case autobuild.Starting:
		return "starting" + attemptText(b)
	case autobuild.Running:
		return "building" + attemptText(b)
	case autobuild.Succeeded:
		return "built in " + durationText(b) + pushedText(b)
	case autobuild.Cancelled:
		return finishedText("cancelled", b)
	case autobuild.Failed:
		return finishedText("failed", b)
	}
	return finishedText("error, not caused by the repository", b)
}

// finishedText describes a final state with its detail or its reason.
func finishedText(how string, b autobuild.Build) string {
	if b.Detail != "" {
		return how + ": " + b.Detail
	}
	if b.Reason != "" {
		return how + ": " + strings.ReplaceAll(string(b.Reason), "_", " ")
	}
	return how
}

// attemptText returns ", attempt 2" from the second attempt on.
func attemptText(b autobuild.Build) string {
	if b.Attempt > 1 {
		return fmt.Sprintf(", attempt %d", b.Attempt)
	}
	return ""
}

func durationText(b autobuild.Build) string {
	if b.StartedAt.IsZero() || b.FinishedAt.Before(b.StartedAt) {
		return "0s"
	}
	return b.FinishedAt.Sub(b.StartedAt).Round(time.Second).String()
}

func pushedText(b autobuild.Build) string {
	if !b.Publish {
		return ", not pushed"
	}
	return ", pushed " + strings.Join(b.Tags, ", ")
}
