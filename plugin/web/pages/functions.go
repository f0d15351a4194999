package pages

import (
	"fmt"
	"html/template"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"slipway/config/text"
	"slipway/plugin/autobuild"
)

// functions returns the functions of templates. None of them returns markup.
func functions(now func() time.Time, assets map[string]string) template.FuncMap {
	return template.FuncMap{
		"asset":     func(name string) string { return "/static/" + name + "?v=" + assets[name] },
		"ago":       func(t time.Time) string { return ago(now(), t) },
		"exact":     func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"iso":       func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"duration":  duration,
		"size":      size,
		"short":     shortHash,
		"firstLine": firstLine,
		"state":     stateOf,
		"engine":    engineName,
		"sentence":  sentence,
		"plain":     plain,
		"id":        fieldID,
		"join":      strings.Join,
		"add":       func(a, b int) int { return a + b },
		"dict":      dict,
	}
}

// ago returns the time since t, for example "5 min ago".
func ago(now, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	switch d := now.Sub(t); {
	case d < -time.Minute:
		return "in " + roughDuration(-d)
	case d < 5*time.Second:
		return "just now"
	default:
		return roughDuration(d) + " ago"
	}
}

func roughDuration(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// duration formats d as 0.2s, 48s, 1m 24s or 2h 05m.
func duration(d time.Duration) string {
	switch {
	case d < 0:
		return "–"
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%.2fs", d.Seconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm %02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh %02dm", int(d.Hours()), int(d.Minutes())%60)
}

// size formats a number of bytes in kB, MB or GB, with 1 kB = 1000 bytes as registries count.
func size(bytes int64) string {
	n := float64(bytes)
	switch {
	case bytes < 1000:
		return fmt.Sprintf("%d B", bytes)
	case bytes < 1e6:
		return fmt.Sprintf("%.0f kB", n/1e3)
	case bytes < 1e7:
		return fmt.Sprintf("%.1f MB", n/1e6)
	case bytes < 1e9:
		return fmt.Sprintf("%.0f MB", n/1e6)
	}
	return fmt.Sprintf("%.1f GB", n/1e9)
}

// shortHash shortens a commit hash to 7 digits and a digest to 12.
func shortHash(hash string) string {
	if rest, ok := strings.CutPrefix(hash, "sha256:"); ok && len(rest) > 12 {
		return "sha256:" + rest[:12]
	}
	if len(hash) > 7 && !strings.HasPrefix(hash, "sha256:") {
		return hash[:7]
	}
	return hash
}

// firstLine returns the first line of s, with at most 100 characters.
func firstLine(s string) string {
	line := text.FirstLine(s)
	if runes := []rune(line); len(runes) > 100 {
		return string(runes[:99]) + "…"
	}
	return line
}

// plain returns a text without the characters that change the direction of the text around it. It is for
// attributes, titles and options, which cannot hold a <bdi>.
// Source: https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, s)
}

// dict returns a map of name and value pairs, as the argument of a template.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("dict: got %d arguments, want pairs", len(pairs))
	}
	m := map[string]any{}
	for pair := range slices.Chunk(pairs, 2) {
		name, ok := pair[0].(string)
		if !ok {
			return nil, fmt.Errorf("dict: got the name %v, want a string", pair[0])
		}
		m[name] = pair[1]
	}
	return m, nil
}

// A stateLook is the text of a state and the CSS class with its color and shape.
type stateLook struct{ Word, Class string }

func stateOf(s any) stateLook {
	switch s := s.(type) {
	case autobuild.State:
		if s == autobuild.Errored {
			return stateLook{"error", "error"}
		}
		if s == autobuild.Starting {
			return stateLook{"starting", "running"}
		}
		return stateLook{string(s), string(s)}
	case autobuild.DeliveryState:
		class := map[autobuild.DeliveryState]string{
			autobuild.DeliveryReceived: "queued",
			autobuild.DeliveryPlanned:  "succeeded",
			autobuild.DeliveryIgnored:  "cancelled",
			autobuild.DeliveryRefused:  "error",
			autobuild.DeliveryFailed:   "failed",
		}
		return stateLook{string(s), class[s]}
	}
	return stateLook{fmt.Sprint(s), "queued"}
}

// repositoryURL returns the URL of a repository's page at its provider, from the configured origin and
// the stored name. It is empty if they are not a valid URL.
func repositoryURL(p autobuild.Provider, r autobuild.Repository) string {
	origin, err := url.Parse(p.WebURL)
	if err != nil || (origin.Scheme != "https" && origin.Scheme != "http") || origin.Host == "" {
		return ""
	}
	project, slug, ok := strings.Cut(r.FullName, "/")
	if !ok {
		return ""
	}
	if p.Kind == autobuild.DataCenter {
		return origin.JoinPath("projects", url.PathEscape(project), "repos", url.PathEscape(slug)).String()
	}
	return origin.JoinPath(url.PathEscape(project), url.PathEscape(slug)).String()
}

func commitURL(p autobuild.Provider, r autobuild.Repository, hash string) string {
	repository := repositoryURL(p, r)
	if repository == "" || hash == "" {
		return ""
	}
	return repository + "/commits/" + url.PathEscape(hash)
}

// webhooksURL returns the URL of the page to add a webhook by hand.
// Source: https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/
func webhooksURL(p autobuild.Provider, r autobuild.Repository) string {
	repository := repositoryURL(p, r)
	switch {
	case repository == "":
		return ""
	case p.Kind == autobuild.DataCenter:
		return repository + "/settings/webhooks" // the project's menu: Repository settings → Webhooks
	}
	return repository + "/admin/webhooks"
}
