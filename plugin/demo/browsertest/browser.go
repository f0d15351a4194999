// Package browsertest is a person at a real browser: Chromium, driven by its DevTools
// protocol. It clicks what can be seen, types with keys, and holds each page that it looks
// at to what any page owes: it fits the screen, in either theme, axe-core finds nothing
// in it, and it leaves no complaint in the browser's console.
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

// patience bounds each wait for a page. A build is waited for as well, on machines that are
// busy with other tests.
const patience = 45 * time.Second

// lookTime bounds one look at a page, for one that goes away may never answer.
const lookTime = 3 * time.Second

// Program is Chromium's name, in Debian as well.
const Program = "chromium"

//go:embed person.js
var personScript string

// A Browser is one tab of a Chromium of its own, with a new profile. What goes wrong ends the
// test. It is for one goroutine.
type Browser struct {
	t    testing.TB
	tab  context.Context // chromedp's
	dir  string          // where pictures go; empty = none is taken
	look Look            // that the tab has now

	mu         sync.Mutex
	complaints []string // of the console since they were last asked for
}

// Open starts Chromium, and skips the test where there is none. Pictures go to the directory
// that SLIPWAY_SCREENSHOTS names; unset, none is taken.
func Open(t testing.TB) *Browser {
	t.Helper()
	path, err := exec.LookPath(Program)
	if err != nil {
		t.Skipf("SKIPPED: the pages in a real browser need what is absent: %s", Program)
	}
	b := &Browser{t: t, dir: os.Getenv("SLIPWAY_SCREENSHOTS")}
	if b.dir != "" {
		b.must(os.MkdirAll(b.dir, 0o755))
	}
	allocated, stop := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options(path)...)
	t.Cleanup(stop)
	tab, leave := chromedp.NewContext(allocated, chromedp.WithListener(b.hear))
	t.Cleanup(leave)
	b.tab = tab
	b.must(chromedp.Do(tab)) // the browser lives as long as this context
	b.wear(looks()[0])
	t.Cleanup(func() {
		if t.Failed() {
			b.lastWords()
		}
	})
	return b
}

// options start Chromium without a window, and keep it from speaking to anybody by itself.
func options(path string) []chromedp.ExecAllocatorOption {
	all := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.DisableGPU)
	for _, flag := range []string{"disable-quic", "disable-component-update", "disable-domain-reliability", "no-pings"} {
		all = append(all, chromedp.Flag(flag, true))
	}
	if os.Geteuid() == 0 {
		all = append(all, chromedp.NoSandbox) // Chromium's needs another user than root
	}
	return all
}

// Visit types an address and waits until the page is there.
func (b *Browser) Visit(address string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.tab, patience)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Navigate(address)); err != nil {
		b.t.Fatalf("visit %s: %v", address, err)
	}
}

// Go clicks a link or button by its name, and waits for the page that it leads to.
func (b *Browser) Go(name string) {
	b.t.Helper()
	b.evaluate("window.before = true")
	b.Click(name)
	b.Until(strconv.Quote(name)+" led to a page", "!window.before && document.readyState === 'complete'")
}

// Click clicks a link or button by its name, where it is on the screen.
func (b *Browser) Click(name string) {
	b.t.Helper()
	var at []float64
	b.wait("there is a free "+strconv.Quote(name)+" to click", func(ctx context.Context) (bool, error) {
		var err error
		at, err = chromedp.Run(ctx, chromedp.Evaluate[[]float64](script(asked("person.find(%s)", name))))
		return len(at) == 2, err
	})
	b.must(chromedp.Do(b.tab, chromedp.MouseClickXY(at[0], at[1])))
}

// Type puts text into the field with a label, in place of what is there, key by key. In a
// list of choices it takes the one that begins so.
func (b *Browser) Type(label, text string) {
	b.t.Helper()
	b.TypeIn("", label, text)
}

// TypeIn is Type in the group of fields that has a legend, as there are many of one kind.
func (b *Browser) TypeIn(legend, label, text string) {
	b.t.Helper()
	b.Until("there is a field "+strconv.Quote(label), asked("person.focus(%s, %s)", legend, label))
	b.must(chromedp.Do(b.tab, chromedp.KeyEvent(text)))
}

// Key presses one key, as kb.Escape.
func (b *Browser) Key(key string) {
	b.t.Helper()
	b.must(chromedp.Do(b.tab, chromedp.KeyEvent(key)))
}

// Reads waits until the page says a text, without being loaded again.
func (b *Browser) Reads(text string) {
	b.t.Helper()
	b.Until("the page says "+strconv.Quote(text), asked("person.says(%s)", text))
}

// Says reports whether the page says a text now.
func (b *Browser) Says(text string) bool {
	b.t.Helper()
	return b.holds(asked("person.says(%s)", text))
}

// Path is the address's path, and what follows it.
func (b *Browser) Path() string {
	b.t.Helper()
	path, err := chromedp.Run(b.tab, chromedp.Evaluate[string]("location.pathname + location.search"))
	b.must(err)
	return path
}

// Stay marks the page; the function that it returns ends the test if the page was loaded
// again since.
func (b *Browser) Stay() (stayed func()) {
	b.t.Helper()
	b.evaluate("window.stays = true")
	return func() {
		b.t.Helper()
		if !b.holds("window.stays === true") {
			b.t.Fatal("the page was loaded again")
		}
	}
}

// Until waits until an expression is true on the page; one that fails is not.
func (b *Browser) Until(what, expression string) {
	b.t.Helper()
	b.wait(what, func(ctx context.Context) (bool, error) {
		return chromedp.Run(ctx, chromedp.Evaluate[bool](script(expression)))
	})
}

// wait looks again and again. Errors are looked through, for a page that goes away fails
// whatever is asked of it.
func (b *Browser) wait(what string, met func(ctx context.Context) (bool, error)) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.tab, patience)
	defer cancel()
	var last error
	err := localenv.Wait(ctx, func() (bool, error) {
		once, cancel := context.WithTimeout(ctx, lookTime)
		defer cancel()
		var ok bool
		ok, last = met(once)
		return ok && last == nil, nil
	})
	if err != nil {
		b.t.Fatalf("waited in vain until %s: %v (%v)", what, err, last)
	}
}

func (b *Browser) holds(expression string) bool {
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

// asked makes a call of one of the person's functions, with texts for each %s.
func asked(call string, texts ...string) string {
	for _, text := range texts {
		call = strings.Replace(call, "%s", strconv.QuoteToASCII(text), 1)
	}
	return call
}

// script puts the person's functions before an expression, for each page is new to them.
func script(expression string) string {
	return "(() => {\n" + personScript + "\nreturn " + expression + ";\n})()"
}
