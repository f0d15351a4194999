package runner

import "testing"

func TestWhichBuilderMayPushItself(t *testing.T) {
	for _, c := range []struct {
		address, image string
		want           bool
	}{
		{"", "registry:5000/app", true},
		{"unix:///run/slipway/builder.sock", "127.0.0.1:5000/app", true},
		{"tcp://builder.example.com:9443", "docker.io/acme/app", true},
		{"tcp://builder.example.com:9443", "registry.example.com:5000/app", true},
		{"tcp://builder.example.com:9443", "registry:5000/app", false},
		{"tcp://builder.example.com:9443", "localhost/app", false},
		{"docker-container://buildkit", "127.0.0.1:5000/app", false},
		{"kube-pod://buildkit", "10.0.0.1/app", false},
		{"kube-pod://buildkit", "[::1]:5000/app", false},
	} {
		if got := builderPushes(c.address, c.image); got != c.want {
			t.Errorf("%q, %s: got %v", c.address, c.image, got)
		}
	}
}
