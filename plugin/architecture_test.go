package plugin_test

import (
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// layers lists the rooms from the bottom up. A room imports only rooms of lower layers;
// rooms of one layer never import each other, but for a room's own sub-rooms.
var layers = [][]string{
	{"config/secret"},
	{"config/identity", "config/process", "config/netpolicy", "config/safe", "config/text", "config/discard"},
	{"config"},
	{"runner/spec"},
	{"plugin/autobuild"},
	{"plugin/logctx"},
	{"plugin/store/seal", "plugin/store/queue"},
	{"plugin/store"},
	{"plugin/rules", "plugin/credentials"},
	{"plugin/bitbucket"},
	{"plugin/provider"},
	{"plugin/engine"},
	{"plugin/logs", "plugin/leader"},
	{"plugin/accounts"},
	{"plugin/catalog", "plugin/gitproxy"},
	{"plugin/explain"},
	{"plugin/intake", "plugin/planner", "plugin/dispatcher", "plugin/watcher", "plugin/reporter", "plugin/reconciler"},
	{"plugin/metrics"},
	{"plugin/web"},
	{"plugin"},
	{"plugin/demo"},
}

// across lists the imports that may cross the wall between gateway and runner.
var across = map[string][]string{
	"plugin/engine":     {"runner/spec"},
	"plugin/dispatcher": {"runner/spec"},
	"plugin/web":        {"runner/spec"},
	"plugin/catalog":    {"runner/registry", "runner/spec"},
	"plugin/demo":       {"runner/sandbox"},
	// the wire to Bitbucket, for a step that reports by itself
	"runner/commitstatus": {"plugin/bitbucket"},
}

// alone lists the rooms that stand on nothing of ours but these, whatever lies below them.
var alone = map[string][]string{
	"config/secret":    {},
	"config/process":   {},
	"config/netpolicy": {},
	"config/safe":      {},
	"config/text":      {},
	"config/discard":   {},
	"config/identity":  {"config/secret"},
	"runner/ci":        {},
	"runner/tags":      {"runner/ci", "runner/spec"},
	"runner/spec":      {"config/secret"},
	"plugin/autobuild": {"config/secret"},
	"plugin/bitbucket": {"config/discard", "config/secret"},
	"plugin/rules":     {"config/secret", "plugin/autobuild"},

	"plugin/credentials": {"plugin/autobuild"},
}

// leaves are the rooms that every other may import.
var leaves = []string{
	"config/secret",
	"config/identity",
	"config/process",
	"config/netpolicy",
	"config/program",
	"config/safe",
	"config/text",
	"config/discard",
}

// settled lists the packages that take settings apart; the others are handed what they need.
var settled = []string{
	"plugin",
	"plugin/web",
	"plugin/demo/localenv",
	"runner",
	"runner/settings",
	"runner/settings/table",
	"runner/slipway",
	"runner/slipway-builder",
}

func TestRoomsImportOnlyRoomsBelow(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "slipway/...").
		Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	checked := 0
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		from := strings.TrimPrefix(words[0], "slipway/")
		if isTestRoom(from) || from == "slipway" {
			continue
		}
		for _, imported := range words[1:] {
			to, ours := strings.CutPrefix(imported, "slipway/")
			if !ours {
				continue
			}
			checked++
			if why := forbidden(from, to); why != "" {
				t.Errorf("%s imports %s: %s", from, to, why)
			}
		}
	}
	if checked == 0 {
		t.Error("no import was checked")
	}
}

// What is in a program is set up whenever it starts, and a step is started often.
func TestTheStepsProgramHasNoServer(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "slipway/runner/slipway").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	linked := strings.Fields(string(out))
	if !slices.Contains(linked, "github.com/moby/buildkit/client") {
		t.Error("BuildKit's client is not in it")
	}
	for _, heavy := range []string{"github.com/moby/buildkit/solver", "go.etcd.io/bbolt", "modernc.org/sqlite", "github.com/gin-gonic/gin"} {
		if slices.Contains(linked, heavy) {
			t.Errorf("%s is in it", heavy)
		}
	}
}

// forbidden says why one room may not import another; empty = it may.
func forbidden(from, to string) string {
	fromRoom, fromLayer := room(from)
	toRoom, toLayer := room(to)
	if only, ok := alone[fromRoom]; ok && fromRoom != toRoom && !slices.Contains(only, to) {
		return "it stands alone"
	}
	if fromRoom == toRoom || slices.Contains(leaves, to) || (to == "config" && slices.Contains(settled, from)) {
		return ""
	}
	if to == "config" {
		return "settings are for those who wire"
	}
	if strings.HasPrefix(from, "runner") && strings.HasPrefix(to, "runner") {
		return ""
	}
	if strings.HasPrefix(from, "runner") != strings.HasPrefix(to, "runner") {
		for _, allowed := range across[fromRoom] {
			if to == allowed || strings.HasPrefix(to, allowed+"/") {
				return ""
			}
		}
		return "it crosses the wall between gateway and runner"
	}
	if fromRoom == "plugin/demo" && isTestRoom(to) {
		return ""
	}
	if isTestRoom(to) {
		return "test rooms stay out of the program"
	}
	if toLayer >= fromLayer {
		return "it is not below"
	}
	return ""
}

// room finds the longest room that a package lies in, and its layer.
func room(pkg string) (name string, layer int) {
	for i, names := range layers {
		for _, candidate := range names {
			if (pkg == candidate || strings.HasPrefix(pkg, candidate+"/")) && len(candidate) > len(name) {
				name, layer = candidate, i
			}
		}
	}
	if name == "" {
		parts := strings.SplitN(pkg, "/", 3)
		name = strings.Join(parts[:min(2, len(parts))], "/")
	}
	return name, layer
}

func isTestRoom(pkg string) bool {
	return strings.HasSuffix(path.Base(pkg), "test") || strings.Contains(pkg, "bitbuckettest")
}
