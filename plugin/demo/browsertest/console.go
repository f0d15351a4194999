package browsertest

import (
	"fmt"
	"strings"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// recordConsoleError records an error or warning of the browser's console, e.g. the exception of a
// script, a violation of the content security policy, or a failed request.
func (b *Browser) recordConsoleError(event any) {
	message := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		message = e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			message += " " + e.ExceptionDetails.Exception.Description
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			message = fmt.Sprintf("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	}
	if message == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.errors = append(b.errors, message)
}

// TakeConsoleErrors returns the errors and warnings of the console since its last call.
func (b *Browser) TakeConsoleErrors() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.errors
	b.errors = nil
	return all
}

// logPage logs the page on which a test failed.
func (b *Browser) logPage() {
	text, err := chromedp.Run(b.tab, chromedp.Evaluate[string]("location.href + '\\n' + document.body.innerText"))
	if err != nil {
		text = err.Error()
	}
	b.t.Logf("the browser shows %.4000s\nits console: %s", text, strings.Join(b.TakeConsoleErrors(), "; "))
	if b.dir != "" {
		b.screenshot("failed")
	}
}
