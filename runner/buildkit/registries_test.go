package buildkit_test

import (
	"bytes"
	"encoding/pem"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"slipway/runner/buildkit"
	"slipway/runner/sandbox/server"
	"slipway/runner/spec"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Base images come from a mirror of Docker Hub or of another registry, and from a registry whose certificate is valid only
// with the certificates of a directory.
func TestBaseImagesByMirrorAndByCertificate(t *testing.T) {
	needBuildKit(t)
	mirror := serveRegistry(t)
	private := httptest.NewTLSServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(private.Close)
	host := strings.TrimPrefix(private.URL, "https://")
	base, err := mutate.ConfigFile(
		empty.Image,
		&v1.ConfigFile{
			Architecture: runtime.GOARCH,
			OS:           "linux",
			Config:       v1.Config{Labels: map[string]string{"team": "a"}},
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range []string{mirror, host} {
		ref, err := name.NewTag(server + "/acme/base:1")
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(ref, base, remote.WithTransport(private.Client().Transport)); err != nil {
			t.Fatal(err)
		}
	}
	certs := t.TempDir()
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: private.Certificate().Raw})
	if err := os.MkdirAll(filepath.Join(certs, host), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(certs, host, "ca.crt"), authority, 0o600); err != nil {
		t.Fatal(err)
	}
	client := start(t, t.TempDir(), "--mirror", "http://"+mirror+"/", "--mirror", "r.invalid=http://"+mirror,
		"--certs", certs).dial(t)
	for _, from := range []string{"acme/base:1", "r.invalid/acme/base:1", host + "/acme/base:1"} {
		r := request(write(t, map[string]string{"Dockerfile": "FROM " + from + "\nCOPY a /a\n", "a": "a"}))
		r.Image = serveRegistry(t) + "/acme/app"
		if got := labels(t, pull(t, r.Image, publish(t, client, r))); got["team"] != "a" {
			t.Errorf(`base image %s: labels: got %v, want team "a"`, from, got)
		}
	}
}

func TestRUNUsesTheConfiguredNameServers(t *testing.T) {
	needBuildKit(t)
	client := start(t, t.TempDir(), "--dns", "10.9.8.7", "--dns-search", "corp.example.com").dial(t)
	var out bytes.Buffer
	r := request(
		withShell(t, write(t, map[string]string{"Dockerfile": shellStage + "RUN busybox cat /etc/resolv.conf\n"})),
	)
	r.Progress = &out
	if _, err := client.Build(t.Context(), r); err != nil {
		t.Fatalf("Build: %v\n%s", err, &out)
	}
	for _, want := range []string{"nameserver 10.9.8.7\n", "search corp.example.com\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output of RUN: got:\n%s\nwant %q in it", &out, want)
		}
	}
}

func TestMirrorsAndNameServersAreChecked(t *testing.T) {
	for want, c := range map[string]server.Config{
		`the mirror "ftp://mirror"`:     {Mirrors: []string{"ftp://mirror"}},
		`the mirror "https://a b"`:      {Mirrors: []string{"https://a b"}},
		`the mirror "a b=https://m"`:    {Mirrors: []string{"a b=https://m"}},
		`the name server "dns.example"`: {DNS: []string{"dns.example"}},
	} {
		c.State, c.Address = t.TempDir(), "unix:///nowhere/builder.sock"
		if err := server.Serve(t.Context(), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Serve: got error %v, want %q in it", err, want)
		}
	}
}

// A registry that is marked insecure may have a certificate of nobody, or plain HTTP, for a base image as
// for a push.
func TestBaseImagesOfInsecureRegistries(t *testing.T) {
	needBuildKit(t)
	signed := httptest.NewTLSServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(signed.Close)
	host, plain := strings.TrimPrefix(signed.URL, "https://"), serveRegistry(t)
	for _, server := range []string{plain, host} {
		ref, err := name.NewTag(server + "/acme/base:1")
		if err != nil {
			t.Fatal(err)
		}
		base, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{Architecture: runtime.GOARCH, OS: "linux"})
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(ref, base, remote.WithTransport(signed.Client().Transport)); err != nil {
			t.Fatal(err)
		}
	}
	build := func(client *buildkit.Client, from string) error {
		r := request(write(t, map[string]string{"Dockerfile": "FROM " + from + "/acme/base:1\nCOPY a /a\n", "a": "a"}))
		r.Image, r.Publish = from+"/acme/app", true
		r.Registries = []spec.RegistryCredential{{Host: host, Insecure: true}, {Host: plain, Insecure: true}}
		image, err := client.Build(t.Context(), r)
		if err == nil && !image.Pushed {
			err = client.Push(t.Context(), r, image.Digest)
		}
		return err
	}
	client := start(t, t.TempDir(), "--insecure-registry", host, "--insecure-registry", plain).dial(t)
	for _, from := range []string{host, plain} {
		if err := build(client, from); err != nil {
			t.Errorf("base image of %s: %v", from, err)
		}
	}
	strict := start(t, t.TempDir()).dial(t)
	if err := build(strict, host); err == nil {
		t.Error("a registry with a certificate of nobody that is not marked: got no error, want one")
	}
}
