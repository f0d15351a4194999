package hints_test

import (
	"fmt"

	"slipway/runner/hints"
)

// A step that ran again after a changed file gets advice; a cached one gets none.
func ExampleFind() {
	dockerfile := []byte(
		"FROM debian:12\nRUN apt-get update && apt-get install -y curl\nCOPY . /src\nRUN npm install\n",
	)
	for _, h := range hints.Find(dockerfile, []hints.Step{
		{Name: "[2/4] RUN apt-get update && apt-get install -y curl", Cached: true},
		{Name: "[3/4] COPY . /src"},
		{Name: "[4/4] RUN npm install", Took: 9e9},
	}) {
		fmt.Printf("%d: %s\n", h.Line, h.Text)
	}
	// Output:
	// 4: RUN ran again for 9s; with --mount=type=cache on /root/.npm, npm install would keep its files
}
