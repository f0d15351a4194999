package reporter

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"slipway/plugin/autobuild"
)

// statusOf says in Bitbucket's words how a build stands. Connections cut what is too long.
func statusOf(b autobuild.Build, instanceID, baseURL string) autobuild.Status {
	s := autobuild.Status{
		Key:         autobuild.StatusKey(instanceID, b.AutomatedBuildID, b.RuleID, "build", b.Ref.Full()),
		State:       autobuild.StatusOf(b.State),
		Name:        nameOf(b),
		Description: oneLine(describe(b)),
		URL:         baseURL + "/builds/" + strconv.FormatInt(b.Number, 10),
	}
	if b.Ref.Kind == autobuild.Branch {
		s.RefName = b.Ref.Name
	}
	return s
}

// nameOf is like "registry.example.com/acme/app:1.2 (rule releases)".
func nameOf(b autobuild.Build) string {
	name := b.Image
	if len(b.Tags) > 0 {
		name += ":" + b.Tags[0]
	}
	return fmt.Sprintf("%s (rule %s)", name, b.RuleID)
}

// describe says a state in one line.
func describe(b autobuild.Build) string {
	switch b.State {
	case autobuild.Queued:
		if b.Detail != "" {
			return "waiting: " + b.Detail
		}
		return "waiting to be built"
	case autobuild.Starting:
		return "starting" + again(b)
	case autobuild.Running:
		return "building" + again(b)
	case autobuild.Succeeded:
		return "built in " + took(b) + pushed(b)
	case autobuild.Cancelled:
		return ended("cancelled", b)
	case autobuild.Failed:
		return ended("failed", b)
	}
	return ended("not built, which is not the repository's doing", b)
}

func ended(how string, b autobuild.Build) string {
	if b.Detail != "" {
		return how + ": " + b.Detail
	}
	if b.Reason != "" {
		return how + ": " + strings.ReplaceAll(string(b.Reason), "_", " ")
	}
	return how
}

func again(b autobuild.Build) string {
	if b.Attempt > 1 {
		return fmt.Sprintf(", attempt %d", b.Attempt)
	}
	return ""
}

func took(b autobuild.Build) string {
	if b.StartedAt.IsZero() || b.FinishedAt.Before(b.StartedAt) {
		return "no time"
	}
	return b.FinishedAt.Sub(b.StartedAt).Round(time.Second).String()
}

func pushed(b autobuild.Build) string {
	if !b.Publish {
		return ", not pushed"
	}
	return ", pushed " + strings.Join(b.Tags, ", ")
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
