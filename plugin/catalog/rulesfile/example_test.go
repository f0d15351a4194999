package rulesfile_test

import (
	"fmt"
	"strings"

	"slipway/plugin/catalog/rulesfile"
)

// A file has one automated build per document.
func ExampleDecode() {
	documents, err := rulesfile.Decode(strings.NewReader(`
version: 1
repository: acme/app
image: registry.example.com/acme/app
rules:
  - {source_type: branch, source: main, tags: latest}
---
version: 1
repository: acme/web
image: registry.example.com/acme/web
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, d := range documents {
		fmt.Println(d.Line, d.Build.Image, len(d.Build.Rules))
	}
	// Output:
	// 2 registry.example.com/acme/app 1
	// 8 registry.example.com/acme/web 0
}

// An unknown key is an error with its line, and never ignored.
func ExampleDecode_unknownKey() {
	_, err := rulesfile.Decode(strings.NewReader(`version: 1
repository: acme/app
image: registry.example.com/acme/app
rulez: []
`))
	fmt.Println(err)
	// Output:
	// line 4: unknown field "rulez"
}
