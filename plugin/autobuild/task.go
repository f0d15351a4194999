package autobuild

// Kinds of tasks. The argument of a task is one id.
const (
	// TaskPlan hands a delivery id to the planner. Its lane is the hook id, so that the deliveries of
	// one repository keep their order.
	TaskPlan = "plan"
	// TaskDispatch hands a build id to the dispatcher.
	TaskDispatch = "dispatch"
	// TaskReport hands a build id to the reporter. Its lane is the commit status that the builds of
	// one rule, ref and commit share.
	TaskReport = "report"
	// TaskCorrect hands a build id to the reporter, which reports the build's status again: an older
	// status may have overwritten it.
	TaskCorrect = "correct"
)
