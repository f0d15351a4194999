package service

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/buildservice"
)

func TestARunnerGetsTheProxiesOfTheService(t *testing.T) {
	const gateway = "http://10.0.0.5:8080/runner/v1/builds/1"
	for name, c := range map[string]struct{ environ, want []string }{
		"none": {[]string{"PATH=/bin", "HOME=/root", "USER=root", "TMPDIR=/tmp", "SLIPWAY_KEY=hush"}, []string{}},
		"an authority": {
			[]string{"SSL_CERT_FILE=/ca.pem", "NO_PROXY=a"}, []string{"SSL_CERT_FILE=/ca.pem", "NO_PROXY=a"},
		},
		"a proxy": {
			[]string{"HTTPS_PROXY=http://p:3128", "SSL_CERT_DIR=/certs"},
			[]string{"HTTPS_PROXY=http://p:3128", "SSL_CERT_DIR=/certs", "NO_PROXY=10.0.0.5", "no_proxy=10.0.0.5"},
		},
		"exceptions": {
			[]string{"http_proxy=http://p:3128", "NO_PROXY=a,.b", "no_proxy=a,.b"},
			[]string{"http_proxy=http://p:3128", "NO_PROXY=10.0.0.5,a,.b", "no_proxy=10.0.0.5,a,.b"},
		},
		"no proxy for all": {
			[]string{"http_proxy=http://p:3128", "NO_PROXY=*"}, []string{"http_proxy=http://p:3128", "NO_PROXY=*"},
		},
	} {
		got := exceptGateway(runnerEnviron(c.environ), gateway)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestTheEnvironmentOfARunnerHasTheServicesVariables(t *testing.T) {
	o := Options{Environ: []string{"HTTPS_PROXY=http://p:3128"}, Builder: "unix:///b.sock"}
	for name, c := range map[string]struct {
		run  buildservice.Run
		want []string
	}{
		"the builder of the service": {buildservice.Run{}, []string{"HTTPS_PROXY=http://p:3128", "SLIPWAY_BUILDER=unix:///b.sock"}},
		"the builder of the gateway": {buildservice.Run{Builder: "tcp://b:1"}, []string{"SLIPWAY_BUILDER=tcp://b:1"}},
	} {
		a := &attempt{service: &Service{o: o}, run: c.run}
		got := map[string]bool{}
		for _, v := range a.environment() {
			got[v] = true
		}
		for _, want := range c.want {
			if !got[want] {
				t.Errorf("%s: got %v, want %q in it", name, got, want)
			}
		}
	}
}
