package browsertest

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/chromedp/chromedp"
)

// axe is axe-core 4.10.3, unchanged from its npm package. Its licenses are in the same directory.
// Source: https://github.com/dequelabs/axe-core
//
//go:embed axe/axe.min.js
var axe string

// The rules that axe-core checks. The light theme is checked for WCAG 2.1, levels A and AA. To save
// time, the dark theme is checked only for the rules that depend on colors.
// Source: https://www.deque.com/axe/core-documentation/api-documentation/#axecore-tags
const (
	allRules   = `{ type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] }`
	colorRules = `{ type: 'rule', values: ['color-contrast', 'link-in-text-block'] }`
)

// auditScript runs axe-core with one of these sets of rules.
const auditScript = `axe.run(document, { runOnly: %s, resultTypes: ['violations'] }).then((found) =>
	found.violations.map((v) => ({
		rule: v.id,
		help: v.help,
		nodes: v.nodes.slice(0, 4).map((n) => n.html.slice(0, 200) + ' ' + n.failureSummary.replace(/\s+/g, ' ')),
	})))`

// A violation is a rule of axe-core that a page breaks.
type violation struct {
	Rule  string   `json:"rule"`
	Help  string   `json:"help"`
	Nodes []string `json:"nodes"` // the first elements that break it, each with the reason
}

func (v violation) String() string {
	return fmt.Sprintf("axe-core: %s (%s): %s", v.Rule, v.Help, strings.Join(v.Nodes, " | "))
}

// audit runs axe-core on the current page.
func (b *Browser) audit() []violation {
	b.t.Helper()
	if !b.isTrue("typeof window.axe === 'object'") {
		b.evaluate(axe)
	}
	rules := allRules
	if b.screen.Theme == "dark" {
		rules = colorRules
	}
	script := fmt.Sprintf(auditScript, rules)
	found, err := chromedp.Run(b.tab, chromedp.Evaluate[[]violation](script, chromedp.EvalAwaitPromise))
	b.must(err)
	return found
}
