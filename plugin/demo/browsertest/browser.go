// Package browsertest tests pages in a real browser: Chromium, controlled with its DevTools
// protocol. It clicks visible elements and types with keys, as a person does. It also checks that a
// page fits the screen, passes axe-core in both themes, and logs no error to the console.
package browsertest

import (
	"context"
	_ "embed"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"slipway/plugin/demo/localenv"
)

// waitTimeout is the maximum time of each wait. Some waits include a build, on a machine that is busy
// with other tests.
const waitTimeout = 45 * time.Second

// pollTimeout is the maximum time of one evaluation. A page that is being replaced may never respond.
const pollTimeout = 3 * time.Second

// Program is the name of the Chromium program, e.g. in Debian.
const Program = "chromium"

//go:embed person.js
var personScript string

// A Browser is a tab in a Chromium of its own with a new profile. Its methods end the test if they
// fail. They must be called from one goroutine.
type Browser struct {
	t      testing.TB
	tab    context.Context // context of chromedp
	dir    string          // directory for screenshots; empty = take none
	screen Screen          // current screen and theme

	mu     sync.Mutex
	errors []string // console errors since the last call of TakeConsoleErrors
}

// Open starts Chromium. It skips the test if Chromium is not installed. Screenshots are written to
// the directory SLIPWAY_SCREENSHOTS, if that variable is set.
func Open(t testing.TB) *Browser {
	t.Helper()
	path, err := exec.LookPath(Program)
	if err != nil {
		t.Skipf("SKIPPED: %s is not installed", Program)
	}
	b := &Browser{t: t, dir: os.Getenv("SLIPWAY_SCREENSHOTS")}
	if b.dir != "" {
		b.must(os.MkdirAll(b.dir, 0o755))
	}
	allocated, stop := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options(path)...)
	t.Cleanup(stop)
	tab, closeTab := chromedp.NewContext(allocated, chromedp.WithListener(b.recordConsoleError))
	t.Cleanup(closeTab)
	b.tab = tab
	b.must(chromedp.Do(tab)) // the browser lives as long as this context
	b.emulate(screens()[0])
	t.Cleanup(func() {
		if t.Failed() {
			b.logPage()
		}
	})
	return b
}

// options returns the options for a Chromium without a window that makes no requests of its own.
func options(path string) []chromedp.ExecAllocatorOption {
	all := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.DisableGPU)
	for _, flag := range []string{"disable-quic", "disable-component-update", "disable-domain-reliability", "no-pings"} {
		all = append(all, chromedp.Flag(flag, true))
	}
	if os.Geteuid() == 0 {
		all = append(all, chromedp.NoSandbox) // Chromium's sandbox does not work for root
	}
	return all
}

// Visit opens an address and waits until the page is loaded.
func (b *Browser) Visit(address string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.tab, waitTimeout)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Navigate(address)); err != nil {
		b.t.Fatalf("visit %s: %v", address, err)
	}
}

// Follow clicks the link or button with a name, and waits until the next page is loaded.
func (b *Browser) Follow(name string) {
	b.t.Helper()
	b.evaluate("window.before = true")
	b.Click(name)
	b.WaitUntil(strconv.Quote(name)+" loaded a page", "!window.before && document.readyState === 'complete'")
}

// Click clicks the link or button with a name. It scrolls to the element if necessary.
func (b *Browser) Click(name string) {
	b.t.Helper()
	var at []float64
	b.wait(strconv.Quote(name)+" can be clicked", func(ctx context.Context) (bool, error) {
		var err error
		at, err = chromedp.Run(ctx, chromedp.Evaluate[[]float64](script(call("person.find(%s)", name))))
		return len(at) == 2, err
	})
	b.must(chromedp.Do(b.tab, chromedp.MouseClickXY(at[0], at[1])))
}

// Type replaces the text in the field with a label, key by key. In a select field it selects the
// option that starts with the text.
func (b *Browser) Type(label, text string) {
	b.t.Helper()
	b.TypeIn("", label, text)
}

// TypeIn is like Type, for a field in the group with a legend.
func (b *Browser) TypeIn(legend, label, text string) {
	b.t.Helper()
	b.WaitUntil("the field "+strconv.Quote(label)+" has the focus", call("person.focus(%s, %s)", legend, label))
	b.must(chromedp.Do(b.tab, chromedp.KeyEvent(text)))
}

// Key presses one key, e.g. kb.Escape.
func (b *Browser) Key(key string) {
	b.t.Helper()
	b.must(chromedp.Do(b.tab, chromedp.KeyEvent(key)))
}

// WaitText waits until the page contains a text.
func (b *Browser) WaitText(text string) {
	b.t.Helper()
	b.WaitUntil("the page contains "+strconv.Quote(text), call("person.sees(%s)", text))
}

// Contains reports whether the page contains a text now.
func (b *Browser) Contains(text string) bool {
	b.t.Helper()
	return b.isTrue(call("person.sees(%s)", text))
}

// Path returns the path and query of the page's URL.
func (b *Browser) Path() string {
	b.t.Helper()
	path, err := chromedp.Run(b.tab, chromedp.Evaluate[string]("location.pathname + location.search"))
	b.must(err)
	return path
}

// ExpectNoReload marks the page. The function that it returns ends the test if the page was loaded
// again in the meantime.
func (b *Browser) ExpectNoReload() (check func()) {
	b.t.Helper()
	b.evaluate("window.stays = true")
	return func() {
		b.t.Helper()
		if !b.isTrue("window.stays === true") {
			b.t.Fatal("page: got a second load, want one")
		}
	}
}

// WaitUntil waits until a JavaScript expression is true on the page. An expression that throws an
// error is not true. condition completes the sentence "wait until ...".
func (b *Browser) WaitUntil(condition, expression string) {
	b.t.Helper()
	b.wait(condition, func(ctx context.Context) (bool, error) {
		return chromedp.Run(ctx, chromedp.Evaluate[bool](script(expression)))
	})
}

// wait polls met. It ignores errors until the timeout, because each evaluation fails on a page that is
// being replaced.
func (b *Browser) wait(condition string, met func(ctx context.Context) (bool, error)) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.tab, waitTimeout)
	defer cancel()
	var last error
	err := localenv.Wait(ctx, func() (bool, error) {
		once, cancel := context.WithTimeout(ctx, pollTimeout)
		defer cancel()
		var ok bool
		ok, last = met(once)
		return ok && last == nil, nil
	})
	if err != nil {
		b.t.Fatalf("wait until %s: %v (%v)", condition, err, last)
	}
}

func (b *Browser) isTrue(expression string) bool {
	b.t.Helper()
	is, err := chromedp.Run(b.tab, chromedp.Evaluate[bool](script(expression)))
	b.must(err)
	return is
}

func (b *Browser) evaluate(expression string) {
	b.t.Helper()
	b.must(chromedp.Do(b.tab, chromedp.Evaluate[chromedp.Void](expression)))
}

func (b *Browser) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// call returns a call of a function in person.js. Each %s is replaced by a quoted text.
func call(function string, texts ...string) string {
	for _, text := range texts {
		function = strings.Replace(function, "%s", strconv.QuoteToASCII(text), 1)
	}
	return function
}

// script returns an expression with the functions of person.js, which no page defines.
func script(expression string) string {
	return "(() => {\n" + personScript + "\nreturn " + expression + ";\n})()"
}
