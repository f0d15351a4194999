package demo_test

import (
	"bufio"
	"encoding/json"
	"os"
	"slices"
	"strings"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
)

// stations are the log messages of a push that is built and published, with the station that writes
// each. Stations run concurrently, so that two neighboring lines may be swapped.
var stations = []struct{ message, station string }{
	{"delivery received", "intake"},
	{"delivery answered", "planner"},
	{"queued", "planner"},
	{"pipeline started", "dispatcher"},
	{"attempt claimed", "watcher"},
	{"permit granted", "watcher"},
	{"attempt finished", "watcher"},
	{"status told", "reporter"},
}

// logOfOnePush: the log lines with a delivery's ID show all stations of the push. The lines with the
// build's number show all stations from the planner on. No line of another push has them.
func logOfOnePush(env *demotest.Env) {
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	p.Commit("Traced", env.Dockerfile("traced"))
	p.Push("main")
	b := p.WaitEnd(1, autobuild.Succeeded)
	if b.DeliveryID == "" {
		env.T.Fatal("delivery of the build: got none, want one")
	}
	var all []map[string]any
	env.WaitUntil("the log has the line of the final status", func() (bool, error) {
		lines, err := logLines(env.Gateway.LogFile())
		all = lines
		return slices.ContainsFunc(lines, func(l map[string]any) bool {
			return l["build"] == float64(b.Number) && l["msg"] == "status told" && l["state"] == "succeeded"
		}), err
	})
	byDelivery := linesWith(all, "delivery", b.DeliveryID)
	byBuild := linesWith(all, "build", float64(b.Number))
	checkStations(env, "by delivery ID", byDelivery, 0)
	checkStations(env, "by build number", byBuild, 2)
	for _, line := range byBuild {
		if line["delivery"] != b.DeliveryID {
			env.T.Errorf("line: got %v, want it with the delivery ID", line)
		}
		message, _ := line["msg"].(string)
		if slices.Contains(attemptMessages(), message) && line["attempt"] != float64(1) {
			env.T.Errorf("line: got %v, want it with attempt 1", line)
		}
	}
	for _, line := range byDelivery {
		if request, _ := line["request"].(string); line["msg"] == "delivery received" && len(request) != 16 {
			env.T.Errorf("line: got %v, want it with the request ID", line)
		}
	}
}

// attemptMessages returns the messages whose lines have the number of the attempt.
func attemptMessages() []string {
	return []string{"pipeline started", "attempt claimed", "permit granted", "attempt finished"}
}

// linesWith returns the lines whose field has a value.
func linesWith(lines []map[string]any, field string, value any) []map[string]any {
	return slices.DeleteFunc(slices.Clone(lines), func(l map[string]any) bool { return l[field] != value })
}

// checkStations checks that the lines have the messages of stations[from:]. name describes the lines.
func checkStations(env *demotest.Env, name string, lines []map[string]any, from int) {
	env.T.Helper()
	for _, want := range stations[from:] {
		found := slices.ContainsFunc(lines, func(l map[string]any) bool {
			message, _ := l["msg"].(string)
			return l["level"] == "info" && strings.HasSuffix(message, want.message)
		})
		if !found {
			env.T.Errorf("lines %s: got no line %q, want one of the %s: %v", name, want.message, want.station, lines)
		}
	}
}

// logLines returns the lines of a JSON log.
func logLines(file string) (lines []map[string]any, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	scan := bufio.NewScanner(f)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		var line map[string]any
		if json.Unmarshal(scan.Bytes(), &line) == nil { // the last line may be incomplete
			lines = append(lines, line)
		}
	}
	return lines, scan.Err()
}
