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
		databaseUp:   desc("database_up", "1 when the database answered and took a write, else 0."),
		databasePing: desc("database_ping_seconds", "Time that the database took for it."),
		circuit: desc(
			"engine_circuit_open",
			"1 from a failed start on an engine to the next one that succeeds: until then builds wait longer and longer.",
			"engine",
		),

		unplanned: desc("deliveries_unplanned", "Deliveries that are stored and wait to be planned."),
		unplannedAge: desc(
			"deliveries_unplanned_oldest_age_seconds",
			"Age of the oldest of them; 0 without any.",
		),
		deliveriesStranded: desc("deliveries_stranded", "Those of them that no task will plan. Always 0."),

		builds: desc("builds", "Builds that are queued, starting or running, by engine.", "engine", "state"),
		buildsAge: desc("builds_oldest_age_seconds",
			"How long the oldest of them is in that state; of queued ones, since it was asked for. 0 without any.",
			"engine", "state"),
		buildsStranded: desc("builds_stranded", "Queued builds that no task will start. Always 0."),

		tasks:    desc("tasks", "Tasks of the gateway that wait, run, or were given up (dead).", "kind", "state"),
		tasksAge: desc("tasks_oldest_age_seconds", "Age of the oldest task of a kind; 0 without any.", "kind", "state"),
		tasksOverdue: desc(
			"tasks_overdue_seconds",
			"How long a task has been due, and waiting for none before it, that nobody has taken yet; 0 without any.",
			"kind",
		),

		statusesRefused: desc("statuses_refused",
			"Builds whose newest status Bitbucket did not take, and will not be told again."),

		hooks: desc("hooks",
			"Repositories by how their pushes come: active = webhook, polled = no webhook could be had.", "state"),
		hookProblems: desc("hooks_problems", "Repositories whose webhook is not in order; their page says why."),
		neverPolled:  desc("hooks_never_polled", "Repositories without a webhook whose refs were never looked at yet."),
		pollAge: desc(
			"poll_oldest_success_age_seconds",
			"Of the repositories without a webhook, the time since the last poll of the one that waits longest; 0 without any.",
		),

		accounts:   desc("accounts", "Linked accounts: linked, or broken = somebody must link it again.", "state"),
		registries: desc("registries", "Registry credentials by what their last check found.", "state"),
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
