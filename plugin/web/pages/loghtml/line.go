package loghtml

import (
	"fmt"
	"html/template"
)

// Row makes the line's row: its number as a link to itself, and its text.
func (l Line) Row() template.HTML {
	return template.HTML(
		fmt.Sprintf(
			`<div class="line" id="L%d"><a class="no" href="#L%d">%d</a><span class="tx">%s</span></div>`,
			l.Number,
			l.Number,
			l.Number,
			l.HTML,
		),
	) // #nosec G203 -- HTML was escaped when it was made
}
