package tenanttest

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
)

// programVariable is the environment variable with the path of another slipway program to test. The tests
// of attacks use it, too.
const programVariable = "SLIPWAY_ATTACK_PROGRAM"

// TestTwoTenantsBuild runs builds of two tenants at the same time. A hook and a RUN step of one search for
// the other's caches, networks, processes and files.
func TestTwoTenantsBuild(t *testing.T) {
	demotest.RequireTools(t)
	if !demotest.IsIsolated() {
		t.Skip("SKIPPED: network namespaces need root")
	}
	connect(t)
	o := localenv.Options{Environment: []string{"SLIPWAY_CONCURRENCY=4", "SLIPWAY_CONCURRENCY_PER_WORKSPACE=4"}}
	if program := os.Getenv(programVariable); program != "" {
		o.Executable, o.Child = program, true
	}
	e := demotest.StartSignedIn(t, o)
	bob, carol := e.AddPerson("bob"), e.AddPerson("carol")
	secret := canary("tenant")
	var addresses, hooks []string // of Carol's builds, and of their hooks
	for _, kind := range []string{"hook", "run"} {
		_, log := build(e, carol, kind, "held\n", "{{CANARY}}", secret)
		for _, line := range regexp.MustCompile(`address ([0-9. ]*)`).FindAllStringSubmatch(log, -1) {
			addresses = append(addresses, strings.Fields(line[1])...)
		}
		if kind == "hook" {
			hooks = slices.Clone(addresses)
		}
	}
	addresses = slices.DeleteFunc(addresses, func(a string) bool { return strings.HasPrefix(a, "127.") })
	t.Logf("addresses of Carol's builds: %s", addresses)
	b, log := build(e, bob, "attacker", "try run cache: ", "{{ADDRESSES}}", strings.Join(addresses, " "),
		"{{HOOKS}}", strings.Join(hooks, " "))
	for _, name := range []string{
		"hook network", "hook processes", "hook files", "run network", "run cache",
	} {
		_, found, made := strings.Cut(log, "try "+name+": ")
		if !made {
			t.Fatalf("attempt %s: got none, want one:\n%s", name, e.DescribeBuild(b))
		}
		found, _, _ = strings.Cut(found, "\n")
		if strings.Contains(found, secret) {
			t.Errorf("%s of another tenant: got %q, want nothing", name, found)
		}
	}
}

// connect gives this network namespace a further interface and a default route, as a machine has. Nothing
// answers there.
func connect(t *testing.T) {
	t.Helper()
	for _, command := range []string{
		"link add machine0 type veth peer name nowhere0",
		"addr add 192.0.2.2/24 dev machine0",
		"link set machine0 up",
		"link set nowhere0 up",
		"route add default via 192.0.2.1",
	} {
		if out, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", command, err, out)
		}
	}
}

// build pushes the files of a folder in testdata as a person, and returns the build and its log when the
// log has a text.
func build(e *demotest.Env, p localenv.Person, folder, until string, fill ...string) (autobuild.Build, string) {
	e.T.Helper()
	files := map[string]string{}
	root := filepath.Join("testdata", folder)
	fill = append(fill, "{{REGISTRY}}", e.Registry)
	e.Must(filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(name)
		files[strings.TrimPrefix(name, root+"/")] = strings.NewReplacer(fill...).Replace(string(text))
		return err
	}))
	made := must.Get[*localenv.Project](
		e.T,
	)(
		e.NewProject(e.Context, folder, map[string]string{"Dockerfile": "FROM scratch\n"}),
	)
	project := &demotest.Project{Project: made, Env: e}
	project.Repository.Grant(p.User, bitbuckettest.Write)
	e.Must(project.Automate(e.Context, e.Browser, demotest.MainRule()))
	project.Commit("Build at the same time", files)
	project.Push("main")
	b := project.WaitNewest(1, append(localenv.Final(), autobuild.Running)...)
	log, err := e.Browser.WaitLog(e.Context, b, 1, func(log string) bool { return strings.Contains(log, until) })
	e.Must(err)
	return b, log
}
