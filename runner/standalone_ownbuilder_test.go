package runner_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// From setting to RUN: a base image of Docker Hub comes from the mirror, and RUN has the name
// servers.
func TestStepTellsItsOwnBuilderOfMirrorsAndNameServers(t *testing.T) {
	needBuildKit(t)
	w := newWorld(t)
	mirror := strings.TrimPrefix(w.registry.URL, "http://")
	ref, err := name.NewTag(mirror + "/acme/base:1")
	if err != nil {
		t.Fatal(err)
	}
	base, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{Architecture: runtime.GOARCH, OS: "linux"})
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, base); err != nil {
		t.Fatal(err)
	}
	dir := shellWorkspace(
		t,
		"RUN busybox cat /etc/resolv.conf; echo made > /made\nFROM acme/base:1\nCOPY --from=0 /made /made\n",
		map[string]string{},
	)
	cmd := step(
		t,
		dir,
		"PLUGIN_REPO=acme/app",
		"PLUGIN_DRY_RUN=true",
		"PLUGIN_MIRROR=http://"+mirror,
		"PLUGIN_CUSTOM_DNS=10.9.8.7",
	)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "nameserver 10.9.8.7") {
		t.Errorf("%v\n%s", err, out)
	}
}
