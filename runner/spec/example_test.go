package spec_test

import (
	"fmt"

	"slipway/runner/spec"
)

func ExampleLegalTag() {
	for _, tag := range []string{"1.2", "1.2.3_5", "1.2.3+5", ".hidden", "feature/login"} {
		fmt.Println(tag, spec.LegalTag(tag))
	}
	// Output:
	// 1.2 true
	// 1.2.3_5 true
	// 1.2.3+5 false
	// .hidden false
	// feature/login false
}

// Variables that change the runner itself are reserved.
func ExampleCheckVariable() {
	fmt.Println(spec.CheckVariable("NPM_MODE", "ci"))
	fmt.Println(spec.CheckVariable("LD_PRELOAD", "/tmp/x.so"))
	// Output:
	// <nil>
	// LD_PRELOAD is reserved: choose another name for the variable
}
