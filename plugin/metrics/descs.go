package metrics

import "github.com/prometheus/client_golang/prometheus"

// metricDescs describes the metrics that are computed at a scrape.
type metricDescs struct {
	databaseUp, databasePing, circuit           *prometheus.Desc
	unplanned, unplannedAge, deliveriesStranded *prometheus.Desc
	builds, buildsAge, buildsStranded           *prometheus.Desc
	tasks, tasksAge, tasksOverdue               *prometheus.Desc
	statusesRefused                             *prometheus.Desc
	hooks, hookProblems, neverPolled, pollAge   *prometheus.Desc
	accounts, registries                        *prometheus.Desc
}

func newMetricDescs() metricDescs {
	return metricDescs{
		databaseUp:   desc("database_up", "1 if the database answers and accepts a write, otherwise 0."),
		databasePing: desc("database_ping_seconds", "Time that the database took for this check."),
		circuit: desc(
			"engine_circuit_open",
			"1 from a failed start on an engine to the next successful one. Builds wait between attempts, longer each time.",
			"engine",
		),

		unplanned: desc("deliveries_unplanned", "Stored deliveries that are not planned yet."),
		unplannedAge: desc(
			"deliveries_unplanned_oldest_age_seconds",
			"Age of the oldest delivery that is not planned yet; 0 if there is none.",
		),
		deliveriesStranded: desc("deliveries_stranded", "Unplanned deliveries without a task. Always 0."),

		builds: desc("builds", "Builds that are queued, starting or running, by engine.", "engine", "state"),
		buildsAge: desc("builds_oldest_age_seconds",
			"Time that the oldest build is in the state; for queued builds, since the request. 0 if there is none.",
			"engine", "state"),
		buildsStranded: desc("builds_stranded", "Queued builds without a task. Always 0."),

		tasks: desc("tasks", "Tasks of the gateway that wait, run, or failed permanently (dead).", "kind", "state"),
		tasksAge: desc(
			"tasks_oldest_age_seconds",
			"Age of the oldest task of a kind; 0 if there is none.",
			"kind",
			"state",
		),
		tasksOverdue: desc(
			"tasks_overdue_seconds",
			"Time since the oldest waiting task that can run became due; 0 if there is none.",
			"kind",
		),

		statusesRefused: desc("statuses_refused",
			"Builds whose newest status Bitbucket refused and the gateway does not send again."),

		hooks: desc("hooks",
			"Repositories by the source of their pushes: active = webhook, polled = no webhook is possible.", "state"),
		hookProblems: desc("hooks_problems", "Repositories with a webhook problem; their page shows it."),
		neverPolled:  desc("hooks_never_polled", "Repositories without a webhook that were never polled."),
		pollAge: desc(
			"poll_oldest_success_age_seconds",
			"Longest time since the last successful poll of a repository without a webhook; 0 if there is none.",
		),

		accounts: desc(
			"accounts",
			"Linked accounts by state: linked, or broken = a user must link it again.",
			"state",
		),
		registries: desc("registries", "Registry credentials by the result of their last check.", "state"),
	}
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

func (d metricDescs) all() []*prometheus.Desc {
	return []*prometheus.Desc{
		d.databaseUp,
		d.databasePing,
		d.circuit,
		d.unplanned,
		d.unplannedAge,
		d.deliveriesStranded,
		d.builds,
		d.buildsAge,
		d.buildsStranded,
		d.tasks,
		d.tasksAge,
		d.tasksOverdue,
		d.statusesRefused,
		d.hooks,
		d.hookProblems,
		d.neverPolled,
		d.pollAge,
		d.accounts,
		d.registries,
	}
}
