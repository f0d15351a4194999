package demo_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/config/stats"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
	"slipway/plugin/demo/sample"
)

// programsVar is the variable for the directory with slipway and slipway-step, as a release has them.
const programsVar = "SLIPWAY_BENCH_PROGRAMS"

// BenchmarkPushToRunner measures the time from the receipt of a push to the claim of its runner, while the builder
// runs. In the same round, it measures the start of the runner's program alone: its start and end without work. The
// results are medians in milliseconds, and the median of the differences.
func BenchmarkPushToRunner(b *testing.B) {
	demotest.RequireTools(b)
	dir := os.Getenv(programsVar)
	if dir == "" {
		b.Skipf("SKIPPED: needs %s, the directory of slipway and slipway-step; make bench sets it", programsVar)
	}
	if os.Geteuid() != 0 {
		b.Skip("SKIPPED: the builder of the gateway needs root, which is absent")
	}
	env := must.Get[*localenv.Env](b)(localenv.Start(b.Context(), localenv.Options{
		Executable: filepath.Join(dir, "slipway"), Environment: commonSettings(),
	}))
	b.Cleanup(env.Close)
	checkout := must.Get[*localenv.Checkout](b)(env.Checkout(b.Context()))
	commit(b, checkout, "Start", must.Get[map[string]string](b)(sample.Files(env.Registry)))
	browser := must.Get[*localenv.Browser](b)(env.SignInAndLink(b.Context()))
	must.Succeed(
		b,
		env.Automate(b.Context(), browser, []localenv.Rule{{Type: "branch", Source: "main", Tags: "latest"}}),
	)

	var waits, starts, differences []float64 // milliseconds
	for round := 0; b.Loop(); round++ {
		commit(
			b,
			checkout,
			fmt.Sprint("Change ", round),
			map[string]string{"greeting.txt": sample.Greeting(fmt.Sprint(round))},
		)
		builds, err := env.WaitBuilds(b.Context(), round+1, localenv.AllFinal)
		must.Succeed(b, err)
		start := startOf(b, filepath.Join(dir, "slipway-step"))
		if round == 0 && b.N > 1 {
			continue // this build has started the builder
		}
		wait := milliseconds(builds[0].StartedAt.Sub(builds[0].ReceivedAt))
		waits, starts, differences = append(waits, wait), append(starts, start), append(differences, wait-start)
	}
	b.ReportMetric(stats.Median(waits), "ms/push-to-runner")
	b.ReportMetric(stats.Median(starts), "ms/process-start")
	b.ReportMetric(stats.Median(differences), "ms/difference")
	b.ReportMetric(0, "ns/op") // the rounds do more than what is measured
}

// startOf returns the time of a process that reads its settings, finds none and ends, in milliseconds.
func startOf(b *testing.B, program string) float64 {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), program, "runner")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	began := time.Now()
	err := cmd.Run()
	took := milliseconds(time.Since(began))
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 2 {
		b.Fatalf("%s runner without settings: got %v, want exit code 2", program, err)
	}
	return took
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// commit commits files to main and pushes them.
func commit(b *testing.B, checkout *localenv.Checkout, message string, files map[string]string) {
	b.Helper()
	_ = must.Get[string](b)(checkout.Commit(b.Context(), message, files))
	_ = must.Get[time.Time](b)(checkout.Push(b.Context(), "main"))
}
