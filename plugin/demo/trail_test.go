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

// stations are what the log says of a push that is built and pushed, and whose line each is.
// Where a station goes on while the one before still writes its line, two may change places.
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

// logOfOnePush: grepping the log for a delivery's id shows the push's whole way, and grepping it
// for its build's number all of it after the planner. Lines of other pushes are not among them.
func logOfOnePush(env *demotest.Env) {
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	p.Commit("Traced", env.Dockerfile("traced"))
	p.Push("main")
	b := p.WaitEnd(1, autobuild.Succeeded)
	if b.DeliveryID == "" {
		env.T.Fatal("the build has no delivery")
	}
	var all []map[string]any
	env.WaitUntil("the log tells of the last status", func() (bool, error) {
		lines, err := logLines(env.Gateway.LogFile())
		all = lines
		return slices.ContainsFunc(lines, func(l map[string]any) bool {
			return l["build"] == float64(b.Number) && l["msg"] == "status told" && l["state"] == "succeeded"
		}), err
	})
	byDelivery := slices.DeleteFunc(
		slices.Clone(all),
		func(l map[string]any) bool { return l["delivery"] != b.DeliveryID },
	)
	byBuild := slices.DeleteFunc(
		slices.Clone(all),
		func(l map[string]any) bool { return l["build"] != float64(b.Number) },
	)
	expectStations(env, "by the delivery's id", byDelivery, 0)
	expectStations(env, "by the build's number", byBuild, 2)
	for _, line := range byBuild {
		if line["delivery"] != b.DeliveryID {
			env.T.Errorf("a line of the build does not name its delivery: %v", line)
		}
		late := line["msg"] == "pipeline started" || line["msg"] == "attempt claimed" ||
			line["msg"] == "permit granted" ||
			line["msg"] == "attempt finished"
		if late && line["attempt"] != float64(1) {
			env.T.Errorf("a line of the attempt does not name it: %v", line)
		}
	}
	for _, line := range byDelivery {
		if request, _ := line["request"].(string); line["msg"] == "delivery received" && len(request) != 16 {
			env.T.Errorf("the line of a request does not name it: %v", line)
		}
	}
}

// expectStations wants the stations' lines, from one of them on.
func expectStations(env *demotest.Env, how string, lines []map[string]any, from int) {
	env.T.Helper()
	for _, want := range stations[from:] {
		found := slices.ContainsFunc(lines, func(l map[string]any) bool {
			message, _ := l["msg"].(string)
			return l["level"] == "info" && strings.HasSuffix(message, want.message)
		})
		if !found {
			env.T.Errorf("%s: no line of the %s says %q: %v", how, want.station, want.message, lines)
		}
	}
}

// logLines reads a log of JSON lines.
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
		if json.Unmarshal(scan.Bytes(), &line) == nil { // the last one may be half written
			lines = append(lines, line)
		}
	}
	return lines, scan.Err()
}
