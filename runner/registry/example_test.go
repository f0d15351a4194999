package registry_test

import (
	"fmt"

	"slipway/config/secret"
	"slipway/runner/registry"
	"slipway/runner/spec"
)

// A name without a registry is at Docker Hub. Tags come from the rules, so a name must not have one.
func ExampleParseImage() {
	for _, image := range []string{"acme/app", "registry.example.com/acme/app", "registry.example.com/acme/app:1.2"} {
		name, err := registry.ParseImage(image)
		fmt.Printf("%q %v\n", name, err)
	}
	// Output:
	// "docker.io/acme/app" <nil>
	// "registry.example.com/acme/app" <nil>
	// "" image "registry.example.com/acme/app:1.2" has a tag: set the name without it, because the rules make the tags
}

// The longest matching prefix of the image's name determines the login.
func ExampleLoginFor() {
	credentials := []spec.RegistryCredential{
		{
			Host:       "registry.example.com",
			Credential: spec.Credential{Username: "everywhere", Password: secret.New("hush")},
		},
		{
			Host:       "registry.example.com/acme",
			Credential: spec.Credential{Username: "acme", Password: secret.New("hush")},
		},
	}
	for _, image := range []string{"registry.example.com/acme/app", "registry.example.com/other/app", "docker.io/acme/app"} {
		fmt.Printf("%s %q\n", image, registry.LoginFor(image, credentials).Username)
	}
	// Output:
	// registry.example.com/acme/app "acme"
	// registry.example.com/other/app "everywhere"
	// docker.io/acme/app ""
}
