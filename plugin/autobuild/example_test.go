package autobuild_test

import (
	"fmt"

	"slipway/plugin/autobuild"
)

func ExampleParseRef() {
	for _, full := range []string{"refs/heads/feature/login", "refs/tags/v1.2", "refs/pull/7/head"} {
		ref, ok := autobuild.ParseRef(full)
		fmt.Println(ok, ref.Kind, ref.Name)
	}
	// Output:
	// true branch feature/login
	// true tag v1.2
	// false
}

// A key is stable and has 40 characters, the limit of Bitbucket Cloud.
func ExampleStatusKey() {
	key := autobuild.StatusKey("installation", "automated build", "releases", "push", "refs/tags/v1.2")
	again := autobuild.StatusKey("installation", "automated build", "releases", "push", "refs/tags/v1.2")
	other := autobuild.StatusKey("installation", "automated build", "releases", "push", "refs/tags/v1.3")
	fmt.Println(len(key), key[:8], key == again, key == other)
	// Output:
	// 40 slipway- true false
}
