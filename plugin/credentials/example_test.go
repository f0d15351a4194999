package credentials_test

import (
	"fmt"

	"slipway/plugin/autobuild"
	"slipway/plugin/credentials"
)

// Of two credentials that fit, the longer one pushes. The build itself gets the pull credential only.
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

// A registry field begins an image's name in whole segments.
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

// A credential for a whole registry serves every automated build: the pages warn about it.
func ExampleWarning() {
	fmt.Println(credentials.Warning(autobuild.Registry{Host: "registry.example.com", Purpose: autobuild.RegistryPush}))
	fmt.Printf(
		"%q\n",
		credentials.Warning(autobuild.Registry{Host: "registry.example.com/acme/app", Purpose: autobuild.RegistryPush}),
	)
	// Output:
	// every automated build with an image at registry.example.com may push with it: add a path prefix, as registry.example.com/team, or bind it to one automated build
	// ""
}
