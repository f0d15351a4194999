package bitbuckettest

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"net/url"
)

//go:embed pages
var pageFiles embed.FS

// The pages, each with the layout.
var (
	homePage    = parsePage("home")
	signInPage  = parsePage("signin")
	grantPage   = parsePage("grant")
	problemPage = parsePage("problem")
)

func parsePage(name string) *template.Template {
	return template.Must(template.ParseFS(pageFiles, "pages/layout.html", "pages/"+name+".html"))
}

// showPage writes a page with a strict content security policy: no scripts, no frames, and forms only to
// this server. Browsers apply form-action to the redirects after a form, too. So alsoForms allows the
// consumer's origin, if a form redirects there.
func showPage(w http.ResponseWriter, status int, alsoForms string, page *template.Template, data object) {
	var out bytes.Buffer
	if err := page.ExecuteTemplate(&out, "layout.html", data); err != nil {
		http.Error(w, "Something went wrong", http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy",
		"default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self' "+alsoForms)
	w.WriteHeader(status)
	_, _ = out.WriteTo(w) // an error means that the browser has gone
}

func (s *Server) showProblem(w http.ResponseWriter, status int, problem string) {
	showPage(w, status, "", problemPage, object{"Problem": problem})
}

func (s *Server) style(w http.ResponseWriter, r *http.Request) {
	http.ServeFileFS(w, r, pageFiles, "pages/style.css")
}

// origin returns the scheme and host of the consumer's callback URL.
func origin(a authorization) string {
	u, err := url.Parse(a.consumer.Callback)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// scopeTexts maps scopes to their texts on the grant page.
var scopeTexts = map[string]string{
	"account":           "Read your account information",
	"account:write":     "Read and modify your account information",
	"email":             "Read your account's primary email address",
	"repository":        "Read your repositories",
	"repository:write":  "Read and modify your repositories",
	"repository:admin":  "Administer your repositories",
	"webhook":           "Read and modify your repositories' webhooks",
	"pullrequest":       "Read your repositories and their pull requests",
	"pullrequest:write": "Read and modify your repositories and their pull requests",
}

func describeScopes(scopes []string) []string {
	texts := make([]string, len(scopes))
	for i, scope := range scopes {
		texts[i] = scope
		if text, known := scopeTexts[scope]; known {
			texts[i] = text
		}
	}
	return texts
}
