package browsertest

import (
	"fmt"
	"strings"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// hear keeps what the browser's console complains about: a script's error, something that
// the page's policy refuses, an address that does not answer.
func (b *Browser) hear(event any) {
	complaint := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		complaint = e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			complaint += " " + e.ExceptionDetails.Exception.Description
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			complaint = fmt.Sprintf("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	}
	if complaint == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = append(b.complaints, complaint)
}

// Complaints returns what the console complained about since it was last asked.
func (b *Browser) Complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.complaints
	b.complaints = nil
	return all
}

// lastWords tells of the page on which a test failed.
func (b *Browser) lastWords() {
	text, err := chromedp.Run(b.tab, chromedp.Evaluate[string]("location.href + '\\n' + document.body.innerText"))
	if err != nil {
		text = err.Error()
	}
	b.t.Logf("the browser was at %.4000s\nits console: %s", text, strings.Join(b.Complaints(), "; "))
	if b.dir != "" {
		b.picture("failed")
	}
}
