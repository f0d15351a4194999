package settings_test

import (
	"fmt"

	"slipway/runner/settings"
)

// environ is an environment that is not the process's.
type environ []string

func (e environ) Environ() []string     { return e }
func (e environ) Unsetenv(string) error { return nil }

// A CI makes variables of a step's settings. Each setting remembers its origin.
func ExampleReadPlugin() {
	p, err := settings.ReadPlugin(environ{
		"DRONE=true", "DRONE_BUILD_EVENT=push", "DRONE_COMMIT_REF=refs/heads/main", "DRONE_REPO_BRANCH=main",
		"PLUGIN_REPO=registry.example.com/acme/app", "PLUGIN_AUTO_TAG=true",
		"PLUGIN_USERNAME=ci", "PLUGIN_PASSWORD=hush",
	})
	fmt.Println(p.Image(), p.Tags, err)
	fmt.Println(p.Logins[0].Username, p.Logins[0].Password)
	fmt.Println(p.Origins["PLUGIN_PASSWORD"])
	// Output:
	// registry.example.com/acme/app [latest] <nil>
	// ci ***
	// PLUGIN_PASSWORD
}

// A misspelled setting is refused, with the likely name.
func ExampleReadPlugin_misspelled() {
	_, err := settings.ReadPlugin(environ{
		"PLUGIN_REPO=registry.example.com/acme/app", "PLUGIN_DOCKERFIEL=Dockerfile.prod",
	})
	fmt.Println(err)
	// Output:
	// PLUGIN_DOCKERFIEL (did you mean PLUGIN_DOCKERFILE?): this step has no such setting; remove it (`slipway runner --help` lists them)
}
