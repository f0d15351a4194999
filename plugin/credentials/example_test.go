package credentials_test

import (
	"fmt"

	"slipway/plugin/autobuild"
	"slipway/plugin/credentials"
)

// Of two push credentials that fit, the longer one is chosen. The build also gets a pull credential.
func ExampleChoose() {
	stored := []autobuild.Registry{
		{ID: "1", Host: "registry.example.com", Purpose: autobuild.RegistryPush, Username: "everywhere"},
		{ID: "2", Host: "registry.example.com/acme", Purpose: autobuild.RegistryPush, Username: "acme"},
		{ID: "3", Host: "registry.example.com", Purpose: autobuild.RegistryPull, Username: "reader"},
	}
	choice := credentials.Choose(stored, credentials.Use{Image: "registry.example.com/acme/app"})
	fmt.Println("push as", choice.Push.Username)
	for _, r := range choice.Pull {
		fmt.Println("pull as", r.Username)
	}
	// Output:
	// push as acme
	// pull as reader
}

// A credential covers the images whose names begin with its Host in whole path segments.
func ExampleCovers() {
	image := "registry.example.com/acme/app"
	for _, host := range []string{"registry.example.com/acme", "registry.example.com/ac", "docker.io"} {
		fmt.Println(host, credentials.Covers(autobuild.Registry{Host: host}, image))
	}
	// Output:
	// registry.example.com/acme true
	// registry.example.com/ac false
	// docker.io false
}

// All automated builds can use a credential for a whole registry, so the pages show a warning.
func ExampleWarning() {
	registry := autobuild.Registry{Host: "registry.example.com", Purpose: autobuild.RegistryPush}
	image := autobuild.Registry{Host: "registry.example.com/acme/app", Purpose: autobuild.RegistryPush}
	fmt.Println(credentials.Warning(registry))
	fmt.Printf("%q\n", credentials.Warning(image))
	// Output:
	// every automated build with an image at registry.example.com may push with it: add a path prefix, for example registry.example.com/team, or bind it to one automated build
	// ""
}
