package api

import (
	"cmp"
	"slices"

	"slipway/plugin/autobuild"
	"slipway/runner/spec"
)

// Size limits of texts from a runner's report that pages show, in bytes.
const (
	maxDetail      = 1000
	maxStageDetail = 200
	maxTagDetail   = 200
)

// eventsAfter returns the events after seq, in order and without a gap. The runner repeats events
// after a gap, because they are not acknowledged.
func eventsAfter(seq int64, events []spec.Event) []spec.Event {
	events = slices.SortedFunc(slices.Values(events), func(a, b spec.Event) int { return cmp.Compare(a.Seq, b.Seq) })
	var after []spec.Event
	for _, e := range events {
		if e.Seq == seq+1 {
			seq = e.Seq
			after = append(after, e)
		}
	}
	return after
}

// recordOf returns the record of new events, with their changes to the stages known so far.
func recordOf(known []autobuild.Stage, fresh []spec.Event) autobuild.EventRecord {
	record := autobuild.EventRecord{Stages: slices.Clone(known)}
	for _, e := range fresh {
		record.Seq = e.Seq
		switch e.Kind {
		case spec.StageStarted:
			record.Stages = append(record.Stages, autobuild.Stage{Name: e.Stage, StartedAt: e.At})
		case spec.StageFinished:
			finishStage(record.Stages, e)
		case spec.Built:
			record.Digest = e.Digest
		}
	}
	return record
}

// finishStage ends the newest stage with the name in the event.
func finishStage(stages []autobuild.Stage, e spec.Event) {
	for i := len(stages) - 1; i >= 0; i-- {
		if stages[i].Name == e.Stage {
			stages[i].FinishedAt, stages[i].Detail = e.At, plainText(e.Detail, maxStageDetail)
			return
		}
	}
}

// finishOf converts a runner's result.
func finishOf(a autobuild.Attempt, r spec.Result) autobuild.Finish {
	f := autobuild.Finish{
		BuildID: a.BuildID, Attempt: a.Number, State: stateOf(r.State), Reason: reasonOf(r),
		Detail: plainText(r.Detail, maxDetail), Digest: r.Digest, Size: r.Size, Tags: tagsOf(r.Tags),
	}
	for _, t := range r.ExtraTags {
		f.ExtraTags = append(
			f.ExtraTags,
			autobuild.ExtraTag{Tag: t.Tag, Pushed: t.Error == "", Problem: plainText(t.Error, maxTagDetail)},
		)
	}
	return f
}

// stateOf converts a state. It returns an unknown state unchanged, and the watcher reports it in the
// build's detail.
func stateOf(s spec.State) autobuild.State {
	switch s {
	case spec.Succeeded:
		return autobuild.Succeeded
	case spec.Failed:
		return autobuild.Failed
	case spec.Cancelled:
		return autobuild.Cancelled
	case spec.Error:
		return autobuild.Errored
	}
	return autobuild.State(plainText(string(s), 40))
}

func reasonOf(r spec.Result) autobuild.Reason {
	known := []autobuild.Reason{
		autobuild.ReasonUser,
		autobuild.ReasonSuperseded,
		autobuild.ReasonTimeout,
		autobuild.ReasonOOM,
		autobuild.ReasonDisk,
		autobuild.ReasonLost,
		autobuild.ReasonCommitGone,
		autobuild.ReasonInfrastructure,
		autobuild.ReasonBuild,
		autobuild.ReasonHook,
		autobuild.ReasonTest,
		autobuild.ReasonConfig,
		autobuild.ReasonRemoved,
		autobuild.ReasonSpace,
	}
	switch reason := autobuild.Reason(r.Reason); {
	case r.State == spec.Succeeded:
		return ""
	case slices.Contains(known, reason):
		return reason
	case r.State == spec.Failed:
		return autobuild.ReasonBuild
	}
	return autobuild.ReasonInfrastructure
}
