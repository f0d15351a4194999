package webhook_test

import (
	"fmt"
	"net/http"

	"slipway/config/secret"
	"slipway/plugin/bitbucket/webhook"
)

// A delivery is checked over its raw bytes. While a secret is replaced, two are accepted.
func ExampleVerify() {
	body := []byte(`{"push":{"changes":[]}}`)
	old, current := secret.New("old secret of the webhook"), secret.New("new secret of the webhook")
	header := http.Header{}
	header.Set(webhook.SignatureHeader, webhook.Sign(body, old))

	fmt.Println(webhook.Verify(body, header, current, old))
	fmt.Println(webhook.Verify(body, header, current))
	// Output:
	// <nil>
	// the signature is not valid: it is not the HMAC-SHA256 of the body with the webhook's secret
}

// One push can create, move and delete several refs.
func ExampleParse() {
	body := []byte(`{
		"repository": {"uuid": "{0b7b3c8e-4f3e-4a4b-9c54-2f7e0d1c9a11}", "full_name": "acme/app"},
		"push": {"changes": [
			{"old": null, "new": {"type": "tag", "name": "v1.2",
				"target": {"hash": "1f6a9c2e07bd4c1f6a9c2e07bd4c1f6a9c2e07bd"}}},
			{"new": null, "old": {"type": "branch", "name": "old",
				"target": {"hash": "2f6a9c2e07bd4c1f6a9c2e07bd4c1f6a9c2e07bd"}}}
		]}
	}`)
	event, err := webhook.Parse(webhook.Cloud, "repo:push", body)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(event.Repository.FullName)
	for _, c := range event.Changes {
		fmt.Printf("%s %s %s %.7s\n", c.Action, c.Kind, c.Name, c.Commit)
	}
	// Output:
	// acme/app
	// created tag v1.2 1f6a9c2
	// deleted branch old
}

// An error names its place in the payload.
func ExampleParse_fault() {
	_, err := webhook.Parse(webhook.Cloud, "repo:push", []byte(`{
		"repository": {"uuid": "{0b7b3c8e-4f3e-4a4b-9c54-2f7e0d1c9a11}", "full_name": "acme/app"},
		"push": {"changes": [{"new": {"type": "branch", "name": "main", "target": {"hash": "not a hash"}}}]}
	}`))
	fmt.Println(err)
	// Output:
	// push.changes[0].new.target.hash: not a commit hash of 40 hex digits
}
