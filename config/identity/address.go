package identity

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
)

// ErrNeeded reports that a connection to a builder on another machine needs a client certificate.
var ErrNeeded = errors.New("a builder on another machine takes only clients with a certificate: " +
	"`slipway builder keys` makes them")

// CheckAddress checks a builder's address: unix:///path, tcp://host:port, or an address that IsExec
// accepts. It returns ErrNeeded if the client has no certificate (its Identity is zero) and the
// connection would leave this machine.
func CheckAddress(address string, client Identity) error {
	if IsExec(address) {
		return nil
	}
	u, err := url.Parse(address)
	switch {
	case err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "":
	case u.Scheme == "unix" && u.Host == "" && filepath.IsAbs(u.Path):
		return nil
	case u.Scheme == "tcp" && u.Hostname() != "" && u.Port() != "" && u.Path == "":
		if client.IsZero() && !isLoopback(u.Hostname()) {
			return ErrNeeded
		}
		return nil
	}
	return fmt.Errorf("%q is not an address of a builder: set unix:///run/slipway/builder.sock, "+
		"tcp://builder.example.com:9443, docker-container://NAME or kube-pod://NAME", address)
}

// IsExec reports whether the client reaches the builder through a command in the builder's container.
// The address docker-container://NAME[?context=…] uses docker, and
// kube-pod://NAME[?context=…&namespace=…&container=…] uses kubectl. These commands authenticate the
// server themselves, so no certificate is needed. A NAME cannot begin with "-", so it cannot be an
// option of the command.
// https://github.com/moby/buildkit/tree/master/client/connhelper
func IsExec(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.User != nil || u.Fragment != "" || u.Path != "" || u.Port() != "" ||
		!namesContainer(u.Hostname()) {
		return false
	}
	known := map[string][]string{"docker-container": {"context"}, "kube-pod": {"context", "namespace", "container"}}[u.Scheme]
	for name, values := range u.Query() {
		if !slices.Contains(known, name) || len(values) != 1 || !namesContainer(values[0]) {
			return false
		}
	}
	return known != nil
}

// containerName matches names of containers, pods and contexts. The length is checked separately: a
// repetition {1,253} would make the compiled expression large, and it is compiled at every start.
var containerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.@:/-]*$`)

func namesContainer(text string) bool { return len(text) <= 253 && containerName.MatchString(text) }

// Encrypts reports whether a connection to the address uses mutual TLS: the address is tcp://, and
// the client has a certificate.
func Encrypts(address string, client Identity) bool {
	u, err := url.Parse(address)
	return err == nil && u.Scheme == "tcp" && !client.IsZero()
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}
