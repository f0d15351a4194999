package commitstatus_test

import (
	"fmt"

	"slipway/runner/ci"
	"slipway/runner/commitstatus"
)

// A repository that the CI clones from bitbucket.org is at Cloud; others are at the given Data Center.
func ExampleFind() {
	cloud := ci.Run{
		Repository: "acme/app", RepositoryOwner: "acme", RepositoryName: "app",
		RemoteURL: "https://bitbucket.org/acme/app.git",
	}
	server := ci.Run{
		Repository: "ACME/app", RepositoryOwner: "ACME", RepositoryName: "app",
		RemoteURL: "ssh://git@bitbucket.example.com:7999/acme/app.git",
	}
	for _, at := range []struct {
		run ci.Run
		url string
	}{{cloud, ""}, {server, "https://bitbucket.example.com"}} {
		place, err := commitstatus.Find(at.run, at.url)
		fmt.Println(place.API, place.DataCenter, place.Owner, place.Slug, err)
	}
	// Output:
	// https://api.bitbucket.org false acme app <nil>
	// https://bitbucket.example.com true ACME app <nil>
}
