package worldtest

import (
	"errors"
	"strings"
	"testing"

	"slipway/config/must"
	"slipway/config/netpolicy"
	"slipway/runner/buildkit"
)

// privateSources are Dockerfiles that use a service in a private network, with the end of the message if the
// service is refused.
var privateSources = map[string]struct{ dockerfile, message string }{
	"git":           {"ADD git://" + private + "/repo.git#main /", ""},
	"HTTP":          {"ADD http://" + private + "/secret /", "ADD may not fetch from " + private + ": "},
	"HTTP, by name": {"ADD http://private.test/secret /", "ADD may not fetch from private.test: "},
	"RUN": {
		"COPY busybox /bin/busybox\n" + `RUN ["/bin/busybox", "nc", "-w", "2", "` + private + `", "80"]`, "",
	},
	// The registry asks for a token, so a reached one fails, too.
	"a registry": {"COPY --from=" + private + ":80/a:1 / /", "builds may not connect to " + private},
}

const privateRefused = private + " is private (10.0.0.0/8), which SLIPWAY_PRIVATE_NETWORKS refuses: " +
	"to allow it, add " + private + ":80 to SLIPWAY_ALLOWED_NETWORKS"

func TestPrivateNetworksAreReachedBySetting(t *testing.T) {
	w := newWorld(t)
	for _, test := range []struct {
		name    string
		private string
		allowed []string
		refused bool
	}{
		{"allow", "allow", nil, false},
		{"refuse", "refuse", nil, true},
		{"an exception", "refuse", []string{private}, false},
		{"an exception for other ports", "refuse", []string{private + ":81"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			policy := must.Get[netpolicy.Policy](t)(netpolicy.Parse(test.private, test.allowed))
			client, _ := w.newBuilderWith(t, true, policy)
			for name, source := range privateSources {
				log, err := build(t.Context(), t, client, "", "FROM scratch\n"+source.dockerfile+"\n")
				if name == "a registry" && err != nil && !strings.Contains(err.Error(), source.message) {
					err = nil // it was reached
				}
				if got := err != nil; got != test.refused {
					t.Errorf("%s: got error %v, want an error %t; log:\n%s", name, err, test.refused, log)
					continue
				}
				if err == nil {
					continue
				}
				var failed *buildkit.BuildError
				if !errors.As(err, &failed) {
					t.Errorf("%s: got error %v, want a BuildError", name, err)
				}
				if want := source.message; want != "" && !strings.Contains(err.Error(), want) {
					t.Errorf("%s: got error %q, want %q in it", name, err, want)
				}
				if source.message != "" && !strings.Contains(err.Error(), privateRefused) {
					t.Errorf("%s: got error %q, want %q in it", name, err, privateRefused)
				}
			}
		})
	}
}
