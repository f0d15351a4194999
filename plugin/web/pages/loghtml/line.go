package loghtml

import (
	"fmt"
	"html/template"
)

// Row returns the HTML of the line: its number as a link to itself, and its text.
func (l Line) Row() template.HTML {
	return template.HTML(
		fmt.Sprintf(
			`<div class="line" id="L%d"><a class="no" href="#L%d">%d</a><span class="tx">%s</span></div>`,
			l.Number,
			l.Number,
			l.Number,
			l.HTML,
		),
	) // #nosec G203 -- HTML is escaped already
}
