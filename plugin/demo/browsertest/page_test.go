package browsertest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Each check finds its kind of bad page, and no problem on a good page.
func TestBadPagesAreFound(t *testing.T) {
	b := Open(t)
	pages := map[string]string{
		"/good":     `<h1>Fine</h1><p>Text.</p>`,
		"/contrast": `<h1>Faint</h1><p style="color:#bbb;background:#fff">Text.</p>`,
		"/label":    `<h1>Form</h1><form><input name="x"></form>`,
		"/dark": `<style>@media (prefers-color-scheme: dark) { p { color: #333; background: #222 } }</style>` +
			`<h1>Dark</h1><p>Text.</p>`,
		"/wide":   `<h1>Wide</h1><div style="width:600px">Text.</div>`,
		"/script": `<h1>Script</h1><script>nothing.at.all()</script>`,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, `<!doctype html><html lang="en"><meta name="viewport" content="width=device-width">`+
			`<link rel="icon" href="data:,"><title>x</title><body><main>`+pages[r.URL.Path]+`</main>`)
	}))
	defer server.Close()
	for path, want := range map[string]string{
		"/good": "", "/contrast": "color-contrast×4", "/label": "label×2",
		"/dark": "color-contrast×2", "/wide": "wide×2", "/script": "console×1",
	} {
		b.Visit(server.URL + path)
		found := map[string]int{}
		for _, screen := range screens() {
			b.emulate(screen)
			for _, v := range b.audit() {
				found[v.Rule]++
			}
			if b.findOverflow() != "" {
				found["wide"]++
			}
		}
		found["console"] = len(b.TakeConsoleErrors())
		if got := counted(found); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}

func counted(found map[string]int) string {
	var all []string
	for what, times := range found {
		if times > 0 {
			all = append(all, what+"×"+string(rune('0'+times)))
		}
	}
	return strings.Join(all, " ")
}
