// Package clients_test runs real clients against the proxies of an attempt. They run in a place like that
// of build hooks: own network and mount namespaces, no way out, and the real host names. The place has
// the attempt's authority in one of the ways of trust.
package clients_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/crane"
	"github.com/sirupsen/logrus"

	"slipway/runner/attemptca"
	"slipway/runner/attemptserver"
	"slipway/runner/sandbox/netns"
)

// craneVariable makes this program crane: go-containerregistry's own calls, inside the place.
const craneVariable = "SLIPWAY_TEST_CRANE"

func TestMain(m *testing.M) {
	if os.Getenv(craneVariable) == "" {
		os.Exit(m.Run())
	}
	if err := runCrane(os.Args[1:]); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func runCrane(args []string) error {
	switch args[0] {
	case "push":
		image, err := crane.Load(args[1])
		if err != nil {
			return err
		}
		return crane.Push(image, args[2])
	case "pull":
		image, err := crane.Pull(args[1])
		if err != nil {
			return err
		}
		return crane.Save(image, args[1], args[2])
	case "copy":
		return crane.Copy(args[1], args[2])
	case "delete":
		return crane.Delete(args[1])
	}
	_, err := crane.Catalog(args[1])
	return err
}

// needs skips the test if it is not run by root, or if a program is missing.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root for mount and network namespaces")
	}
	for _, program := range append([]string{"unshare", "nsenter", "ip", "mount"}, programs...) {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
}

// A site is a name that is served in the place. Docker Hub has several.
type site struct {
	hosts   []string
	port    string
	handler http.Handler
}

// addressName is a registry that has an address for a name. Every place has the address.
// Source: RFC 5737
const addressName = "203.0.113.5"

// A place is a sandbox in which programs of the repository run.
type place struct {
	t   *testing.T
	pid string   // of the process that keeps the namespaces
	dir string   // HOME
	env []string // besides PATH and HOME
	etc string   // the directory at /etc
}

// The ways in which programs learn to trust the attempt's authority.
const (
	byBundle    = "the system's bundles"
	byVariables = "variables"
	byDocker    = "Docker's directory"
)

// newPlace makes a place that serves the sites until the attempt ends.
func newPlace(attempt context.Context, t *testing.T, trust string, sites ...site) *place {
	t.Helper()
	dir := t.TempDir()
	p := &place{t: t, dir: filepath.Join(dir, "home"), etc: filepath.Join(dir, "etc")}
	p.must(os.Mkdir(p.dir, 0o755))
	p.command(exec.Command("cp", "--archive", "/etc", p.etc))
	var names, registries []string
	hosts := "127.0.0.1 localhost\n"
	for i, s := range sites {
		names = append(names, s.hosts...)
		if s.hosts[0] != addressName {
			hosts += fmt.Sprintf("127.77.0.%d %s\n", i+1, strings.Join(s.hosts, " "))
		}
		registries = append(registries, s.hosts[0]+strings.TrimSuffix(":"+s.port, ":443"))
	}
	p.write("hosts", []byte(hosts))
	authority, err := attemptca.New(names, time.Now().Add(time.Hour))
	p.must(err)
	p.trust(authority, trust, registries)
	p.login(registries)
	p.start()
	for i, s := range sites {
		address := fmt.Sprintf("127.77.0.%d", i+1)
		if s.hosts[0] == addressName {
			address = addressName
		}
		p.serve(attempt, authority, address+":"+s.port, s)
	}
	return p
}

func (p *place) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) command(cmd *exec.Cmd) {
	p.t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
}

// write writes a file of the place's /etc.
func (p *place) write(name string, content []byte) {
	p.t.Helper()
	path := filepath.Join(p.etc, name)
	p.must(os.MkdirAll(filepath.Dir(path), 0o755))
	_ = os.Remove(path) // it may be a link
	p.must(os.WriteFile(path, content, 0o644))
}

// trust puts the attempt's files where the place has them in one way of trust, and nowhere else.
func (p *place) trust(authority *attemptca.Authority, way string, registries []string) {
	p.t.Helper()
	system, err := attemptca.SystemBundle("/")
	p.must(err)
	files, err := authority.Files(system, registries)
	p.must(err)
	for _, f := range files {
		name := strings.TrimPrefix(f.Path, "/etc/")
		if _, err := os.Stat(filepath.Join(p.etc, name)); f.Replace && err != nil {
			continue
		}
		if f.Replace == (way == byBundle) && (way != byVariables) {
			p.write(name, f.Content)
		}
	}
	if way == byVariables {
		bundle := filepath.Join(p.dir, "bundle.pem")
		p.must(os.WriteFile(bundle, authority.Bundle(system), 0o644))
		p.env = attemptca.Environment(bundle)
	}
}

// login writes config.json with the attempt's token.
func (p *place) login(registries []string) {
	p.t.Helper()
	auths := map[string]any{}
	for _, registry := range registries {
		if registry == "index.docker.io" {
			registry = "https://index.docker.io/v1/"
		}
		auths[registry] = map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte("build:" + attemptToken))}
	}
	text, err := json.Marshal(map[string]any{"auths": auths})
	p.must(err)
	p.must(os.Mkdir(filepath.Join(p.dir, ".docker"), 0o755))
	p.must(os.WriteFile(filepath.Join(p.dir, ".docker/config.json"), text, 0o600))
}

// start makes the namespaces. A process that waits for the end of its input keeps them.
func (p *place) start() {
	p.t.Helper()
	cmd := exec.Command(
		"unshare",
		"--net",
		"--mount",
		"--propagation",
		"private",
		"sh",
		"-c",
		`mount --bind "$0" /etc && ip link set lo up && ip address add `+addressName+`/32 dev lo && echo ready && read x`,
		p.etc,
	)
	in, err := cmd.StdinPipe()
	p.must(err)
	out, err := cmd.StdoutPipe()
	p.must(err)
	cmd.Stderr = os.Stderr
	p.must(cmd.Start())
	p.t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		p.t.Fatalf("start the sandbox: %q: %v", line, err)
	}
	p.pid = fmt.Sprint(cmd.Process.Pid)
}

// serve serves a site inside the place, from outside.
func (p *place) serve(attempt context.Context, authority *attemptca.Authority, address string, s site) {
	p.t.Helper()
	namespace, err := os.Open("/proc/" + p.pid + "/ns/net")
	p.must(err)
	defer namespace.Close()
	var l net.Listener
	p.must(netns.Do(namespace, func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	}))
	config, err := authority.TLSConfig(s.hosts...)
	p.must(err)
	logger := logrus.New()
	logger.Out = io.Discard
	served := make(chan error, 1)
	go func() { served <- attemptserver.Serve(attempt, l, config, s.handler, logger) }()
	p.t.Cleanup(func() {
		if err := <-served; err != nil {
			p.t.Errorf("serve %s: %v", address, err)
		}
	})
}

// run runs a program in the place and returns its output.
func (p *place) run(args ...string) (string, error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	words := append([]string{"--target", p.pid, "--net", "--mount", "--wd=" + p.dir, "env", "-i",
		"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir, "GIT_TERMINAL_PROMPT=0"}, p.env...)
	cmd := exec.CommandContext(ctx, "nsenter", append(words, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// ok runs a program that must succeed.
func (p *place) ok(args ...string) string {
	p.t.Helper()
	out, err := p.run(args...)
	if err != nil {
		p.t.Errorf("%q: %v\n%s", args, err, out)
	}
	return out
}

// refused runs a program that must fail with a message.
func (p *place) refused(message string, args ...string) {
	p.t.Helper()
	out, err := p.run(args...)
	if err == nil || !strings.Contains(out, message) {
		p.t.Errorf("%q: got %v, want an error with %q\n%s", args, err, message, out)
	}
}

// crane returns the words that run go-containerregistry in the place.
func (p *place) crane(args ...string) []string {
	p.t.Helper()
	self, err := os.Executable()
	p.must(err)
	return slices.Concat([]string{"env", craneVariable + "=1", self}, args)
}
