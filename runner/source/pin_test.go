package source

import (
	"errors"
	"testing"
)

// The repository controls the addresses of submodules. In no form may they lead to a service that only this
// machine can reach.
func TestSubmodulesAreNotFetchedFromThisMachine(t *testing.T) {
	const origin = "https://bitbucket.org/acme/app.git"
	for _, host := range []string{
		"127.0.0.1", "0.0.0.0", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "169.254.169.254", "100.100.100.200",
		"168.63.129.16", "fd00:ec2::254", "localhost",
	} {
		for _, ssh := range []bool{false, true} {
			if _, err := (address{host: host, port: "443", ssh: ssh}).pin(
				t.Context(),
				origin,
			); !errors.Is(
				err,
				errOurOwn,
			) {
				t.Errorf("%s, ssh %t: got %v, want errOurOwn", host, ssh, err)
			}
		}
	}
	if _, err := (address{host: "203.0.113.5", port: "443"}).pin(t.Context(), origin); err != nil {
		t.Errorf("203.0.113.5: got %v, want no error", err)
	}
	if _, err := (address{host: "127.0.0.1", port: "443"}).pin(
		t.Context(),
		"https://127.0.0.1/acme/app.git",
	); err != nil {
		t.Errorf("the repository's own host: got %v, want no error", err)
	}
}
