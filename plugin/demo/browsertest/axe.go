package browsertest

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/chromedp/chromedp"
)

// axe is axe-core 4.10.3 as its npm package has it; licences beside it.
// Source: https://github.com/dequelabs/axe-core
//
//go:embed axe/axe.min.js
var axe string

// What axe-core judges by: WCAG 2.1, levels A and AA, and of that what the dark theme may
// change once the light one is judged, for time is dear.
// Source: https://www.deque.com/axe/core-documentation/api-documentation/#axecore-tags
const (
	wholly  = `{ type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] }`
	colours = `{ type: 'rule', values: ['color-contrast', 'link-in-text-block'] }`
)

// audits runs axe-core by the one or the other.
const audits = `axe.run(document, { runOnly: %s, resultTypes: ['violations'] }).then((found) => found.violations.map((v) => ({
	rule: v.id, help: v.help, nodes: v.nodes.slice(0, 4).map((n) => n.html.slice(0, 200) + ' ' + n.failureSummary.replace(/\s+/g, ' ')),
})))`

// A violation is one of axe-core's rules that a page breaks.
type violation struct {
	Rule  string   `json:"rule"`
	Help  string   `json:"help"`
	Nodes []string `json:"nodes"` // the first of what breaks it, with why
}

func (v violation) String() string {
	return fmt.Sprintf("axe-core: %s (%s): %s", v.Rule, v.Help, strings.Join(v.Nodes, " | "))
}

// audit has axe-core judge the page as it is.
func (b *Browser) audit() []violation {
	b.t.Helper()
	if !b.holds("typeof window.axe === 'object'") {
		b.evaluate(axe)
	}
	by := wholly
	if b.look.Theme == "dark" {
		by = colours
	}
	found, err := chromedp.Run(
		b.tab,
		chromedp.Evaluate[[]violation](fmt.Sprintf(audits, by), chromedp.EvalAwaitPromise),
	)
	b.must(err)
	return found
}
