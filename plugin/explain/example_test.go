package explain_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"slipway/plugin/explain"
)

// Run prints the decision of each rule on each changed ref, as JSON. It needs two files and nothing else.
func ExampleRun() {
	dir, err := os.MkdirTemp("", "explain")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	rules := filepath.Join(dir, "rules.yaml")
	err = os.WriteFile(rules, []byte(`
version: 1
repository: acme/app
image: registry.example.com/acme/app
rules:
  - {source_type: branch, source: main, tags: latest, dockerfile: Dockerfile, context: /}
`), 0o600)
	if err != nil {
		fmt.Println(err)
		return
	}
	payload := `{
		"repository": {"uuid": "{0b7b3c8e-4f3e-4a4b-9c54-2f7e0d1c9a11}", "full_name": "acme/app"},
		"push": {"changes": [
			{"old": null, "new": {"type": "branch", "name": "main",
				"target": {"hash": "1f6a9c2e07bd4c1f6a9c2e07bd4c1f6a9c2e07bd"}}}
		]}
	}`
	err = explain.Run(context.Background(), explain.Options{
		Provider: "bitbucket-cloud", Event: "repo:push", RulesFile: rules,
		Payload: "-", Stdin: strings.NewReader(payload), Stdout: os.Stdout,
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// {
	//   "event": "repo:push",
	//   "repository": {
	//     "uuid": "{0b7b3c8e-4f3e-4a4b-9c54-2f7e0d1c9a11}",
	//     "full_name": "acme/app"
	//   },
	//   "changes": [
	//     {
	//       "kind": "branch",
	//       "name": "main",
	//       "action": "created",
	//       "commit": "1f6a9c2e07bd4c1f6a9c2e07bd4c1f6a9c2e07bd",
	//       "decisions": [
	//         {
	//           "rule": "0",
	//           "build": true,
	//           "publish": true,
	//           "tags": [
	//             "latest"
	//           ],
	//           "dockerfile": "Dockerfile",
	//           "context": ".",
	//           "reason": "branch main matches main"
	//         }
	//       ]
	//     }
	//   ],
	//   "skipped": [],
	//   "ignored": ""
	// }
}
