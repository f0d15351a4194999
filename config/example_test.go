package config_test

import (
	"fmt"

	"slipway/config"
)

// Help is the text of --help.
func ExampleHelp() {
	fmt.Print(config.Help(config.GatewaySettings()[:1]))
	// Output:
	// SLIPWAY_LISTEN                     address to serve on [:8080]
}
