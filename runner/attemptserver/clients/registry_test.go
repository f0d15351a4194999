package clients_test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/runner/registryproxy"
)

const registryName = "registry.example.com"

// newRegistryPlace makes a place with the registry under its name, under one with a port, and as
// Docker Hub.
func newRegistryPlace(t *testing.T, trust string) (*place, *upstream, *registryproxy.Proxy, context.CancelFunc) {
	t.Helper()
	needs(t, "docker-registry")
	u := newUpstream(t)
	attempt, end := context.WithCancel(t.Context())
	t.Cleanup(end)
	proxy := u.proxy(attempt, t, registryName)
	hub := []string{"index.docker.io", "registry-1.docker.io", "docker.io"}
	p := newPlace(attempt, t, trust,
		site{[]string{registryName}, "443", proxy},
		site{[]string{"registry.corp.test"}, "5443", u.proxy(attempt, t, "registry.corp.test:5443")},
		site{hub, "443", u.proxy(attempt, t, hub...)},
		site{[]string{addressName}, "5443", u.proxy(attempt, t, addressName+":5443")})
	t.Cleanup(end) // before the place waits for its servers
	return p, u, proxy, end
}

// skopeo returns the words of a copy.
func skopeo(from, to string) []string {
	return []string{"skopeo", "--insecure-policy", "copy", "--quiet", from, to}
}

func TestSkopeo(t *testing.T) {
	needs(t, "skopeo")
	image := "docker-archive:" + archive(t)
	for _, trust := range []string{byBundle, byVariables, byDocker} {
		t.Run(trust, func(t *testing.T) {
			p, u, proxy, _ := newRegistryPlace(t, trust)
			for _, to := range []string{registryName + "/acme/app:1.2", "registry.corp.test:5443/acme/app:port",
				"docker.io/acme/app:hub", addressName + ":5443/acme/app:address"} {
				if strings.HasPrefix(to, "docker.io") && trust == byDocker {
					continue // newPlace writes one directory a site, and this one's is index.docker.io
				}
				p.ok(skopeo(image, "docker://"+to)...)
				if out := p.ok("skopeo", "inspect", "docker://"+to); !strings.Contains(out, `"Digest": "sha256:`) {
					t.Errorf("inspect %s: got %s, want a SHA-256 digest in it", to, out)
				}
				p.ok(skopeo("docker://"+to, "dir:"+p.dir+"/pulled")...)
			}
			p.ok(skopeo("docker://"+registryName+"/acme/app:1.2", "docker://"+registryName+"/acme/tool:1.2")...)
			p.refused("a newer build holds this tag", skopeo(image, "docker://"+registryName+"/acme/app:forbidden")...)
			p.refused("403 (Forbidden)", skopeo(image, "docker://"+registryName+"/other/private:1")...)
			p.refused("this build may pull acme/base", skopeo(image, "docker://"+registryName+"/acme/base:1")...)
			p.refused("", "skopeo", "delete", "docker://"+registryName+"/acme/app:1.2")
			var pushed []string
			for _, push := range proxy.Pushes() {
				pushed = append(pushed, push.Repository+":"+push.Tag)
			}
			if diff := cmp.Diff([]string{"acme/app:1.2", "acme/tool:1.2"}, pushed); diff != "" {
				t.Errorf("pushes (-want +got)\n%s", diff)
			}
			u.check(t)
		})
	}
}

// check checks the requests to the registry, its token server and its storage.
func (u *upstream) check(t *testing.T) {
	t.Helper()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.stored == 0 || u.attached != 0 {
		t.Errorf(
			"blob storage: got %d requests, %d of them with a credential, want some and none",
			u.stored,
			u.attached,
		)
	}
	for _, scope := range u.scopes {
		if !slices.Contains([]string{"repository:acme/app:pull,push", "repository:acme/tool:pull,push",
			"repository:acme/base:pull"}, scope) {
			t.Errorf("token request: got scope %q, want one of the attempt's images", scope)
		}
	}
}

func TestCrane(t *testing.T) {
	image := archive(t)
	for _, trust := range []string{byBundle, byVariables} {
		t.Run(trust, func(t *testing.T) {
			p, u, proxy, _ := newRegistryPlace(t, trust)
			base := u.push(t, "acme/base")
			u.push(t, "other/private")
			for _, to := range []string{registryName + "/acme/app:1.2", "registry.corp.test:5443/acme/app:port",
				"acme/app:hub", addressName + ":5443/acme/app:address"} {
				p.ok(p.crane("push", image, to)...)
				p.ok(p.crane("pull", to, p.dir+"/pulled.tar")...)
			}
			p.ok(p.crane("copy", registryName+"/acme/app:1.2", registryName+"/acme/tool:copy")...)
			p.ok(p.crane("copy", registryName+"/acme/base:latest", registryName+"/acme/app:from-base")...)
			p.refused("DENIED", p.crane("pull", registryName+"/other/private:latest", p.dir+"/x.tar")...)
			p.refused(
				"DENIED",
				p.crane("copy", registryName+"/other/private:latest", registryName+"/acme/app:stolen")...)
			p.refused("UNSUPPORTED", p.crane("delete", registryName+"/acme/app:1.2")...)
			p.refused("DENIED", p.crane("catalog", registryName)...)
			digest, err := base.Digest()
			if err != nil {
				t.Fatal(err)
			}
			if got := proxy.Pushes(); !slices.Contains(got,
				registryproxy.Push{Repository: "acme/app", Tag: "from-base", Digest: digest.String()}) {
				t.Errorf("pushes: got %v, want the one from the base image", got)
			}
			u.check(t)
		})
	}
}

// The registry mounts for the installation's credential; through the proxy it does not.
func TestMountWithARealRegistry(t *testing.T) {
	needs(t, "curl")
	p, u, _, _ := newRegistryPlace(t, byBundle)
	layers, err := u.push(t, "other/private").Layers()
	if err != nil {
		t.Fatal(err)
	}
	layer, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	mount := "/blobs/uploads/?mount=" + layer.String() + "&from=other/private"
	direct, err := http.NewRequestWithContext(t.Context(), "POST", u.front.URL+"/v2/acme/control"+mount, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := owner{u}.RoundTrip(direct)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 201 {
		t.Fatalf("direct: got %d, want 201: the registry does not mount, and the test shows nothing", resp.StatusCode)
	}
	curl := func(args ...string) string {
		return p.ok(
			append([]string{"curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-u", "build:" + attemptToken},
				args...)...)
	}
	if got := curl("-X", "POST", "https://"+registryName+"/v2/acme/app"+mount); got != "202" {
		t.Errorf("mount through the proxy: got %s, want 202", got)
	}
	if got := curl("-I", "https://"+registryName+"/v2/acme/app/blobs/"+layer.String()); got != "404" {
		t.Errorf("the blob after that: got %s, want 404", got)
	}
}

// Programs besides registry clients, in the ways of trust that they have.
func TestTrustOfOtherPrograms(t *testing.T) {
	java := "import java.net.*;class T{public static void main(String[] a)throws Exception{" +
		"System.out.println(((HttpURLConnection)new URL(a[0]).openConnection()).getResponseCode());}}"
	programs := []struct {
		name  string
		words []string
		ways  []string
	}{
		{"curl", []string{"curl", "-sS", "-w", "%{http_code}", "ADDRESS"}, []string{byBundle, byVariables}},
		{"wget", []string{"wget", "--server-response", "-O", "-", "ADDRESS"}, []string{byBundle}},
		{"git", []string{"git", "ls-remote", "ADDRESS"}, []string{byBundle, byVariables}},
		{
			"node",
			[]string{"node", "-e", "fetch('ADDRESS').then(r=>console.log(r.status),e=>console.log(String(e.cause)))"},
			[]string{byVariables},
		},
		{"java", []string{"java", "T.java", "ADDRESS"}, []string{byBundle}},
	}
	for _, way := range []string{byBundle, byVariables} {
		p, _, _, _ := newRegistryPlace(t, way)
		if err := os.WriteFile(p.dir+"/T.java", []byte(java), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, c := range programs {
			if !slices.Contains(c.ways, way) {
				continue
			}
			t.Run(c.name+" by "+way, func(t *testing.T) {
				needs(t, c.name)
				words := slices.Clone(c.words)
				for i := range words {
					words[i] = strings.ReplaceAll(words[i], "ADDRESS", "https://"+registryName+"/v2/")
				}
				// Without the token the response is 401, which shows that the certificate was accepted.
				want := "401"
				if c.name == "git" {
					want = "could not read Username"
				}
				if out, _ := p.run(words...); !strings.Contains(out, want) {
					t.Errorf("%q: got output %s, want %q in it", words, out, want)
				}
			})
		}
	}
}

// The attempt's token is worth nothing at the registry itself, and there is no way to it.
func TestNoWayOut(t *testing.T) {
	needs(t, "curl")
	p, u, _, end := newRegistryPlace(t, byBundle)
	p.refused("", "curl", "-sS", "-m", "2", u.front.URL+"/v2/")
	if out, err := exec.Command("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-u", "build:"+attemptToken,
		u.front.URL+"/v2/").Output(); string(out) != "401" {
		t.Errorf("the attempt's token at the registry itself: got %s, %v, want 401", out, err)
	}
	out := p.ok("curl", "-sSi", "https://"+registryName+"/v2/")
	if !strings.Contains(out, `Basic realm="build"`) || strings.Contains(out, u.tokens.URL) {
		t.Errorf("response: got %s, want the proxy's challenge and no address of the registry", out)
	}
	end()
	p.refused("", "curl", "-sSf", "-m", "5", "-u", "build:"+attemptToken, "https://"+registryName+"/v2/")
}
