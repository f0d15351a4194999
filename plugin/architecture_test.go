package plugin_test

import (
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// layers lists the packages from the bottom up. A package imports only packages of lower layers.
// Packages of one layer never import each other. A name includes the packages below its folder, which
// may import each other.
var layers = [][]string{
	{"config/secret"},
	{
		"config/buildservice",
		"config/grammar",
		"config/identity",
		"config/logline",
		"config/loopback",
		"config/must",
		"config/process",
		"config/netpolicy",
		"config/safe",
		"config/size",
		"config/stats",
		"config/text",
		"config/discard",
		"config/durable",
	},
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
	{"plugin/logs", "plugin/leader", "plugin/backup", "plugin/restart"},
	{"plugin/accounts"},
	{"plugin/catalog", "plugin/gitproxy"},
	{"plugin/explain"},
	{"plugin/intake", "plugin/planner", "plugin/dispatcher", "plugin/watcher", "plugin/reporter", "plugin/reconciler"},
	{"plugin/metrics"},
	{"plugin/web"},
	{"plugin/assembly"},
	{"plugin/doctor", "plugin/rekey"},
	{"plugin"},
	{"plugin/demo"},
}

// across lists the allowed imports between gateway and runner.
var across = map[string][]string{
	"plugin/engine":     {"runner/spec"},
	"plugin/dispatcher": {"runner/spec"},
	"plugin/web":        {"runner/spec"},
	"plugin/catalog":    {"runner/registry", "runner/spec"},
	"plugin/demo":       {"runner/sandbox"},
	// Bitbucket's client, for a step that reports without a gateway
	"runner/commitstatus": {"plugin/bitbucket"},
}

// alone lists packages that may import only the listed packages of this module.
var alone = map[string][]string{
	"config/secret":       {},
	"config/buildservice": {"config/secret"},
	"config/logline":      {},
	"config/loopback":     {},
	"config/must":         {},
	"config/grammar":      {},
	"config/process":      {},
	"config/netpolicy":    {},
	"config/safe":         {},
	"config/size":         {},
	"config/stats":        {},
	"config/text":         {},
	"config/discard":      {},
	"config/durable":      {},
	"config/identity":     {"config/secret"},
	"runner/ci":           {},
	"runner/tags":         {"runner/ci", "runner/spec"},
	"runner/spec":         {"config/grammar", "config/secret"},
	"plugin/autobuild":    {"config/secret"},
	"plugin/bitbucket":    {"config/discard", "config/grammar", "config/secret"},
	"plugin/rules":        {"config/grammar", "config/secret", "plugin/autobuild"},

	"plugin/credentials": {"config/grammar", "plugin/autobuild"},
}

// leaves are the packages that every package may import, except those in alone.
var leaves = []string{
	"config/secret",
	"config/must",
	"config/buildservice",
	"config/durable",
	"config/grammar",
	"config/identity",
	"config/logline",
	"config/loopback",
	"config/process",
	"config/netpolicy",
	"config/program",
	"config/safe",
	"config/size",
	"config/stats",
	"config/text",
	"config/discard",
}

// settled lists the packages that read settings. The others receive values.
var settled = []string{
	"plugin",
	"plugin/assembly",
	"plugin/doctor",
	"plugin/rekey",
	"plugin/web",
	"plugin/demo/localenv",
	"runner",
	"runner/settings",
	"runner/settings/table",
	"runner/slipway",
	"runner/slipway-builder",
}

// storePorts lists the packages that declare the store methods they use, so that they do not import the
// store.
var storePorts = []string{
	"plugin/accounts",
	"plugin/catalog",
	"plugin/dispatcher",
	"plugin/engine/inrepo",
	"plugin/gitproxy",
	"plugin/intake",
	"plugin/logs",
	"plugin/planner",
	"plugin/reconciler",
	"plugin/reporter",
	"plugin/watcher",
	"plugin/web/api",
	"plugin/web/pages",
	"plugin/web/session",
}

func TestPackagesImportOnlyPackagesBelow(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "slipway/...").
		Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	checked := 0
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		from := strings.TrimPrefix(words[0], "slipway/")
		if isTestPackage(from) || from == "slipway" {
			continue
		}
		for _, imported := range words[1:] {
			to, ours := strings.CutPrefix(imported, "slipway/")
			if !ours {
				continue
			}
			checked++
			if why := forbidden(from, to); why != "" {
				t.Errorf("imports of %s: got %s (%s), want this import removed", from, to, why)
			}
		}
	}
	if checked == 0 {
		t.Error("checked imports: got none, want at least 1")
	}
}

// A step starts often, and each linked package takes time to initialize.
func TestTheStepDoesNotLinkServers(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "slipway/runner/slipway").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	linked := strings.Fields(string(out))
	if !slices.Contains(linked, "github.com/moby/buildkit/client") {
		t.Error("packages of the step: got no BuildKit client, want one")
	}
	for _, heavy := range []string{"github.com/moby/buildkit/solver", "go.etcd.io/bbolt", "modernc.org/sqlite", "github.com/gin-gonic/gin"} {
		if slices.Contains(linked, heavy) {
			t.Errorf("packages of the step: got %s, want none of the builder's", heavy)
		}
	}
}

// forbidden returns why one package may not import another, or "".
func forbidden(from, to string) string {
	fromArea, fromLayer := area(from)
	toArea, toLayer := area(to)
	if only, ok := alone[fromArea]; ok && fromArea != toArea && !slices.Contains(only, to) {
		return "alone does not list it"
	}
	if to == "plugin/store" && slices.Contains(storePorts, from) {
		return "it declares its own store port"
	}
	if fromArea == toArea || slices.Contains(leaves, to) || (to == "config" && slices.Contains(settled, from)) {
		return ""
	}
	if to == "config" {
		return "only the packages in settled read settings"
	}
	if strings.HasPrefix(from, "runner") && strings.HasPrefix(to, "runner") {
		return ""
	}
	if strings.HasPrefix(from, "runner") != strings.HasPrefix(to, "runner") {
		for _, allowed := range across[fromArea] {
			if to == allowed || strings.HasPrefix(to, allowed+"/") {
				return ""
			}
		}
		return "across does not list it"
	}
	if fromArea == "plugin/demo" && isTestPackage(to) {
		return ""
	}
	if isTestPackage(to) {
		return "the program does not import test packages"
	}
	if toLayer >= fromLayer {
		return "it is in the same or a higher layer"
	}
	return ""
}

// area returns the longest name in layers that contains a package, and the index of its layer. For
// other packages it returns the first two elements of the path, and 0.
func area(pkg string) (name string, layer int) {
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

func isTestPackage(pkg string) bool {
	return strings.HasSuffix(path.Base(pkg), "test") || strings.Contains(pkg, "bitbuckettest")
}
