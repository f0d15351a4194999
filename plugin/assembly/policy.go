package assembly

import (
	"slipway/config"
	"slipway/config/netpolicy"
)

// Policy returns the addresses that the gateway connects to if they come from outside. If a setting is
// invalid, which config.LoadGateway reports, it allows no exception and no private network.
func Policy(c config.Gateway) netpolicy.Policy {
	p, err := netpolicy.Parse(c.Private, c.Allowed)
	if err != nil {
		return netpolicy.Policy{RefusePrivate: true}
	}
	return p
}

// RegistryPolicy returns the policy for registries, whose addresses people type, and for the token servers that
// registries name. Registries on this machine are allowed if a setting names them.
func RegistryPolicy(c config.Gateway) netpolicy.Policy {
	p := Policy(c)
	p.Allow = c.LocalRegistry
	p.OpenOwn = true
	return p
}
