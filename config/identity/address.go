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

// ErrNeeded is CheckAddress's answer where the client must be somebody.
var ErrNeeded = errors.New("a builder on another machine takes only clients with a certificate: `slipway builder keys` makes them")

// CheckAddress checks a builder's address: unix:///path, tcp://host:port, or one of IsExec. ErrNeeded when
// who is nobody and the connection would leave this machine.
func CheckAddress(address string, who Identity) error {
	if IsExec(address) {
		return nil
	}
	u, err := url.Parse(address)
	switch {
	case err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "":
	case u.Scheme == "unix" && u.Host == "" && filepath.IsAbs(u.Path):
		return nil
	case u.Scheme == "tcp" && u.Hostname() != "" && u.Port() != "" && u.Path == "":
		if who.IsZero() && !isLoopback(u.Hostname()) {
			return ErrNeeded
		}
		return nil
	}
	return fmt.Errorf("%q is no address of a builder: give it as unix:///run/slipway/builder.sock tcp://builder.example.com:9443, docker-container://NAME or kube-pod://NAME", address)
}

// IsExec reports whether a builder is reached by a command that runs in its container:
// docker-container://NAME[?context=…], by docker, and kube-pod://NAME[?context=…&namespace=…&container=…],
// by kubectl. Those commands know by themselves whom they talk to. A name is none of an option's.
// https://github.com/moby/buildkit/tree/master/client/connhelper
func IsExec(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.User != nil || u.Fragment != "" || u.Path != "" || u.Port() != "" || !namesContainer(u.Hostname()) {
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

// containerName is of containers, pods and contexts. A length in it would make of it, whenever a
// program starts, as many states.
var containerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.@:/-]*$`)

func namesContainer(text string) bool { return len(text) <= 253 && containerName.MatchString(text) }

// Encrypts reports whether a client that is somebody shows it at an address.
func Encrypts(address string, who Identity) bool {
	u, err := url.Parse(address)
	return err == nil && u.Scheme == "tcp" && !who.IsZero()
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}
