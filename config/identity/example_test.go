package identity_test

import (
	"errors"
	"fmt"

	"slipway/config/identity"
)

// Without a certificate only builders on this machine are reached over TCP.
func ExampleCheckAddress() {
	for _, address := range []string{
		"unix:///run/slipway/builder.sock",
		"tcp://127.0.0.1:1234",
		"tcp://builder.example.com:9443",
	} {
		err := identity.CheckAddress(address, identity.Identity{})
		fmt.Println(address, err == nil, errors.Is(err, identity.ErrNeeded))
	}
	// Output:
	// unix:///run/slipway/builder.sock true false
	// tcp://127.0.0.1:1234 true false
	// tcp://builder.example.com:9443 false true
}
