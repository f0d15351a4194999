package netpolicy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// The settings of the policy. The gateway, the builder service and builders have the same settings.
const (
	PrivateSetting = "SLIPWAY_PRIVATE_NETWORKS"
	AllowedSetting = "SLIPWAY_ALLOWED_NETWORKS"

	registriesSetting = "SLIPWAY_BUILDER_LOCAL_REGISTRIES"
)

// The values of PrivateSetting.
const (
	PrivateAllow  = "allow"
	PrivateRefuse = "refuse"
)

// An Exception is a network that the installation allows.
type Exception struct {
	Network netip.Prefix
	Port    uint16 // only this TCP port; 0 = all ports and protocols
}

// String returns the exception in the form that ParseException reads, for example "10.0.0.0/8" or "10.1.2.3:5000".
func (e Exception) String() string {
	host := e.Network.String()
	if e.Network.IsSingleIP() {
		host = e.Network.Addr().String()
	}
	switch {
	case e.Port == 0:
		return host
	case e.Network.Addr().Is6():
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(int(e.Port))
}

// Parse returns the policy of two settings. An empty value of private is the default, PrivateAllow. The
// error names the setting, the wrong value and the fix.
func Parse(private string, allowed []string) (Policy, error) {
	var p Policy
	var errs []error
	switch private {
	case "", PrivateAllow:
	case PrivateRefuse:
		p.RefusePrivate = true
	default:
		errs = append(errs, fmt.Errorf("%s is %q: use %s or %s",
			PrivateSetting, private, PrivateAllow, PrivateRefuse))
	}
	for i, text := range allowed {
		e, err := ParseException(strings.TrimSpace(text))
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: entry %d: %w", AllowedSetting, i+1, err))
			continue
		}
		p.Exceptions = append(p.Exceptions, e)
	}
	if err := errors.Join(errs...); err != nil {
		return Policy{}, err
	}
	return p, nil
}

// Settings returns the values that Parse reads.
func (p Policy) Settings() (private string, allowed []string) {
	private = PrivateAllow
	if p.RefusePrivate {
		private = PrivateRefuse
	}
	for _, e := range p.Exceptions {
		allowed = append(allowed, e.String())
	}
	return private, allowed
}

// ParseException parses an address or a network, each with or without a TCP port: 10.1.2.3, 10.0.0.0/8,
// 10.1.2.3:5000, 10.0.0.0/8:5000, fd12::1, [fd12::1]:5000 or [fd12::/16]:5000.
func ParseException(text string) (Exception, error) {
	host, port, err := splitPort(text)
	if err != nil {
		return Exception{}, err
	}
	network, err := parseNetwork(host)
	if err != nil {
		return Exception{}, fmt.Errorf("%q %w", text, err)
	}
	return Exception{Network: network, Port: port}, nil
}

// splitPort splits the port from an exception; 0 = it has none.
func splitPort(text string) (host string, port uint16, err error) {
	host, digits, found := text, "", false
	if inner, ok := strings.CutPrefix(text, "["); ok {
		host, digits, found = strings.Cut(inner, "]")
		if !found {
			return "", 0, fmt.Errorf("%q has no closing bracket: write it in the form [fd12::1]:5000", text)
		}
		if digits, found = strings.CutPrefix(digits, ":"); !found && digits != "" {
			return "", 0, fmt.Errorf("%q has text after the bracket: write it in the form [fd12::1]:5000", text)
		}
	} else if strings.Count(text, ":") == 1 {
		host, digits, found = strings.Cut(text, ":")
	}
	if !found {
		return host, 0, nil
	}
	number, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || number == 0 {
		return "", 0, fmt.Errorf("%q has the port %q: use a number from 1 to 65535", text, digits)
	}
	return host, uint16(number), nil
}

// parseNetwork parses an address or a network. Its errors continue a sentence that begins with the text.
func parseNetwork(text string) (netip.Prefix, error) {
	network, err := netip.ParsePrefix(text)
	if address, addressErr := netip.ParseAddr(text); addressErr == nil {
		network, err = netip.PrefixFrom(address.WithZone(""), address.BitLen()), nil
		if address.Zone() != "" {
			return network, fmt.Errorf("names an interface: write %s", address.WithZone(""))
		}
	}
	if err != nil {
		return network, errors.New(
			"is neither an address nor a network: write it in the form 10.1.2.3, 10.0.0.0/8 or " +
				"10.1.2.3:5000. Names are not possible, because a packet filter sees addresses only",
		)
	}
	if network != network.Masked() {
		return network, fmt.Errorf("is not the first address of its network: write %s for the network, or %s",
			network.Masked(), network.Addr())
	}
	if network.IsSingleIP() && network.Addr().IsUnspecified() {
		return network, errors.New("means every address of this machine: write the address of the service")
	}
	if carries(network) {
		return network, fmt.Errorf("carries IPv4 addresses, which are checked as such: write %s for the first one",
			embedded(network.Addr()))
	}
	for _, rule := range private {
		if network.Bits() < rule.Network.Bits() && network.Overlaps(rule.Network) {
			return network, fmt.Errorf("is larger than %s, which another rule refuses: write %[1]s", rule.Network)
		}
	}
	return network, nil
}

// carries reports whether the addresses of an IPv6 network carry IPv4 addresses.
func carries(network netip.Prefix) bool {
	return network.Addr() != netip.IPv6Loopback() &&
		slices.ContainsFunc(Carriers(), func(carrier netip.Prefix) bool {
			return network.Bits() >= carrier.Bits() && carrier.Contains(network.Addr())
		})
}
