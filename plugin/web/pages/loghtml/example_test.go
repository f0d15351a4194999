package loghtml_test

import (
	"fmt"

	"slipway/plugin/web/pages/loghtml"
)

// Colors become classes. All else that a terminal or a browser would interpret is removed or escaped.
func ExampleRenderer() {
	var r loghtml.Renderer
	for _, line := range append(r.Write([]byte("\x1b[31mred\x1b[0m <script>\x1b]0;title\x07\n")), r.Flush()...) {
		fmt.Println(line.Number, line.HTML)
	}
	// Output:
	// 1 <span class="f1">red</span> &lt;script&gt;
}
