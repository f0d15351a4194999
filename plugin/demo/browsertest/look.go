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

// A Look is a screen and a theme.
type Look struct {
	Name          string
	Width, Height int64
	Phone         bool
	Theme         string // of prefers-color-scheme
}

// looks are how each page is looked at. The first is the one that people work in between.
func looks() []Look {
	return []Look{
		{"desktop-light", 1280, 800, false, "light"},
		{"desktop-dark", 1280, 800, false, "dark"},
		{"phone-light", 390, 844, true, "light"},
		{"phone-dark", 390, 844, true, "dark"},
	}
}

// Look looks at the page in every width and theme: it must fit, axe-core must find nothing,
// and the console must be silent. It takes a picture of each, under the name given.
func (b *Browser) Look(name string) {
	b.t.Helper()
	for _, look := range looks() {
		b.wear(look)
		if wide := b.tooWide(); wide != "" {
			b.t.Errorf("%s, %s: the page is wider than the screen: %s", name, look.Name, wide)
		}
		for _, v := range b.audit() {
			b.t.Errorf("%s, %s: %s", name, look.Name, v)
		}
		if b.dir != "" {
			b.picture(name)
		}
	}
	b.wear(looks()[0])
	if complaints := b.Complaints(); len(complaints) > 0 {
		b.t.Errorf("%s: the console complains: %s", name, strings.Join(complaints, "; "))
	}
}

// wear gives the tab a screen and a theme. Nothing pulses, so that pictures are alike.
func (b *Browser) wear(look Look) {
	b.t.Helper()
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: look.Theme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}}
	_, err := cdp.Call(b.tab, chromedp.FromContext(b.tab).Target, emulation.SetEmulatedMedia, media)
	b.must(err)
	options := []chromedp.EmulateViewportOption{chromedp.EmulateScale(1)}
	if look.Phone {
		options = append(options, chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulatePortrait)
	}
	b.must(chromedp.Do(b.tab, chromedp.EmulateViewport(look.Width, look.Height, options...)))
	b.look = look
}

// tooWide names what sticks out of the screen; empty = nothing does. A part that scrolls by
// itself is as wide as its box.
func (b *Browser) tooWide() string {
	b.t.Helper()
	const sticksOut = `((width) => {
		if (document.documentElement.scrollWidth <= width) return '';
		const out = [...document.body.querySelectorAll('*')].filter((e) => e.getBoundingClientRect().right > width + 1);
		return document.documentElement.scrollWidth + ' px: ' + out.slice(-3).map((e) => e.outerHTML.slice(0, 160)).join(' | ');
	})(%d)`
	wide, err := chromedp.Run(b.tab, chromedp.Evaluate[string](fmt.Sprintf(sticksOut, b.look.Width)))
	b.must(err)
	return wide
}

// picture writes the whole page as <name>.<look>.png.
func (b *Browser) picture(name string) {
	b.t.Helper()
	yes := true
	whole := page.CaptureScreenshotParams{
		Format:                page.CaptureScreenshotFormatPng,
		CaptureBeyondViewport: &yes,
		OptimizeForSpeed:      &yes,
	}
	shot, err := cdp.Call(b.tab, chromedp.FromContext(b.tab).Target, page.CaptureScreenshot, whole)
	b.must(err)
	b.must(os.WriteFile(filepath.Join(b.dir, name+"."+b.look.Name+".png"), shot.Data, 0o600))
}
