package netpolicy_test

import (
	"errors"
	"fmt"
	"net/netip"

	"slipway/config/netpolicy"
)

// The zero Policy refuses this machine and metadata services, and allows private networks.
func ExamplePolicy_Check() {
	for _, address := range []string{"127.0.0.1", "169.254.169.254", "10.0.0.7", "::ffff:127.0.0.1"} {
		a := netip.MustParseAddr(address)
		var open netpolicy.Policy
		strict := netpolicy.Policy{RefusePrivate: true}
		fmt.Println(address, refused(open.Check(a)), refused(strict.Check(a)))
	}
	// Output:
	// 127.0.0.1 refused refused
	// 169.254.169.254 refused refused
	// 10.0.0.7 allowed refused
	// ::ffff:127.0.0.1 refused refused
}

func refused(err error) string {
	if errors.Is(err, netpolicy.ErrRefused) {
		return "refused"
	}
	return "allowed"
}
