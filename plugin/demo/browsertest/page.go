package browsertest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// A Screen is a screen size and a color theme.
type Screen struct {
	Name          string
	Width, Height int64
	Phone         bool
	Theme         string // value of prefers-color-scheme
}

// screens returns the screens on which each page is checked. The first one is used between checks.
func screens() []Screen {
	return []Screen{
		{"desktop-light", 1280, 800, false, "light"},
		{"desktop-dark", 1280, 800, false, "dark"},
		{"phone-light", 390, 844, true, "light"},
		{"phone-dark", 390, 844, true, "dark"},
	}
}

// CheckPage checks the page on every screen: it must fit, axe-core must find no violation, and the
// console must have no errors. It takes a screenshot of each, which starts with name.
func (b *Browser) CheckPage(name string) {
	b.t.Helper()
	for _, screen := range screens() {
		b.emulate(screen)
		if wide := b.findOverflow(); wide != "" {
			b.t.Errorf(`%s, %s: the page is wider than the screen: %s, want no overflow`, name, screen.Name, wide)
		}
		for _, v := range b.audit() {
			b.t.Errorf("%s, %s: %s", name, screen.Name, v)
		}
		if b.dir != "" {
			b.screenshot(name)
		}
	}
	b.emulate(screens()[0])
	if errors := b.TakeConsoleErrors(); len(errors) > 0 {
		b.t.Errorf("%s: got console errors %s, want none", name, strings.Join(errors, "; "))
	}
}

// emulate sets the screen and theme of the tab. It turns animations off, so that screenshots can be
// compared.
func (b *Browser) emulate(screen Screen) {
	b.t.Helper()
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: screen.Theme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}}
	_, err := cdp.Call(b.tab, chromedp.FromContext(b.tab).Target, emulation.SetEmulatedMedia, media)
	b.must(err)
	options := []chromedp.EmulateViewportOption{chromedp.EmulateScale(1)}
	if screen.Phone {
		options = append(options, chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulatePortrait)
	}
	b.must(chromedp.Do(b.tab, chromedp.EmulateViewport(screen.Width, screen.Height, options...)))
	b.screen = screen
}

// findOverflow returns the page's width and the elements that are wider than the screen, or "". An
// element that scrolls by itself is as wide as its box.
func (b *Browser) findOverflow() string {
	b.t.Helper()
	const overflowScript = `((width) => {
		if (document.documentElement.scrollWidth <= width) return '';
		const out = [...document.body.querySelectorAll('*')].filter((e) => e.getBoundingClientRect().right > width + 1);
		const last = out.slice(-3).map((e) => e.outerHTML.slice(0, 160));
		return document.documentElement.scrollWidth + ' px: ' + last.join(' | ');
	})(%d)`
	wide, err := chromedp.Run(b.tab, chromedp.Evaluate[string](fmt.Sprintf(overflowScript, b.screen.Width)))
	b.must(err)
	return wide
}

// screenshot writes the whole page to <name>.<screen>.png.
func (b *Browser) screenshot(name string) {
	b.t.Helper()
	yes := true
	whole := page.CaptureScreenshotParams{
		Format:                page.CaptureScreenshotFormatPng,
		CaptureBeyondViewport: &yes,
		OptimizeForSpeed:      &yes,
	}
	shot, err := cdp.Call(b.tab, chromedp.FromContext(b.tab).Target, page.CaptureScreenshot, whole)
	b.must(err)
	b.must(os.WriteFile(filepath.Join(b.dir, name+"."+b.screen.Name+".png"), shot.Data, 0o600))
}
