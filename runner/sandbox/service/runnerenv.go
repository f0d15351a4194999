package service

import (
	"net/url"
	"slices"
	"strings"

	"slipway/config/process"
)

// runnerEnviron returns the variables that runners get from the environment of the service: the proxies and the
// authorities that an operator has set for this machine. A runner has a search path and a home of its own.
func runnerEnviron(environ []string) []string {
	return slices.DeleteFunc(process.Environ(environ), func(v string) bool {
		return slices.Contains([]string{"PATH", "HOME", "USER", "TMPDIR"}, nameOf(v))
	})
}

// nameOf returns the name of a variable in upper case. Programs differ in the letter case of proxies.
func nameOf(variable string) string {
	name, _, _ := strings.Cut(variable, "=")
	return strings.ToUpper(name)
}

// exceptGateway returns the variables of a runner, so that it connects to its gateway without a proxy: requests
// to the gateway have the token of the attempt. address is the URL of the gateway.
func exceptGateway(environ []string, address string) []string {
	u, err := url.Parse(address)
	proxied := slices.ContainsFunc(environ, func(v string) bool {
		return slices.Contains([]string{"HTTP_PROXY", "HTTPS_PROXY"}, nameOf(v))
	})
	if err != nil || !proxied {
		return environ
	}
	hosts := []string{u.Hostname()}
	var others []string
	for _, v := range environ {
		_, value, _ := strings.Cut(v, "=")
		switch {
		case nameOf(v) != "NO_PROXY":
			others = append(others, v)
		case strings.TrimSpace(value) == "*": // it has this meaning only alone
			return environ
		case value != "" && !slices.Contains(hosts, value):
			hosts = append(hosts, value)
		}
	}
	list := strings.Join(hosts, ",")
	return append(others, "NO_PROXY="+list, "no_proxy="+list)
}
