package pages

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
	"slipway/plugin/web/httpx"
	"slipway/plugin/web/session"
)

//go:embed templates
var templateFiles embed.FS

// views are the parsed pages by name, for example "build" for templates/build.html in the frame.
type views map[string]*template.Template

func parse(now func() time.Time) (views, error) {
	assets, err := assetVersions()
	if err != nil {
		return nil, err
	}
	frame, err := template.New("frame.html").
		Funcs(functions(now, assets)).
		ParseFS(templateFiles, "templates/frame.html", "templates/parts/*.html")
	if err != nil {
		return nil, fmt.Errorf("parse the frame: %w", err)
	}
	files, err := templateFiles.ReadDir("templates")
	if err != nil {
		return nil, fmt.Errorf("list templates: %w", err)
	}
	all := views{}
	for _, f := range files {
		if f.IsDir() || f.Name() == "frame.html" {
			continue
		}
		page, err := template.Must(frame.Clone()).ParseFS(templateFiles, path.Join("templates", f.Name()))
		if err != nil {
			return nil, fmt.Errorf("parse %s: %w", f.Name(), err)
		}
		all[strings.TrimSuffix(f.Name(), ".html")] = page
	}
	return all, nil
}

// A frame holds the values of the frame around every page.
type frame struct {
	Title   string
	Nav     string // the current entry of the menu
	Crumbs  []crumb
	User    autobuild.User // zero if no user is signed in
	Signed  bool
	Has     autobuild.Permission // on the page's repository
	Notice  string               // the result of the last action
	Faults  faults
	Here    string // path of the page; empty on an error page
	Now     time.Time
	Key     string // of the page's forms (once)
	Content any
}

type crumb struct{ Name, Link string }

// Can reports whether the user has a permission on the page's repository, to hide buttons. On a page
// without a repository, only administrators of the installation have permissions.
func (f frame) Can(permission string) bool { return f.Has.Includes(autobuild.Permission(permission)) }

// Administers reports whether the user is an administrator of the installation.
func (f frame) Administers() bool { return f.Signed && administers(f.User) }

// show writes a page. It renders the complete page first, so that an error in a template does not
// leave half a page.
func (p *Pages) show(c *gin.Context, status int, name string, f frame) error {
	f.User, f.Signed = session.User(c)
	f.Has = permissionOf(c)
	if name != "error" {
		f.Here = c.Request.URL.Path
	}
	f.Key, f.Now = rand.Text(), p.Now()
	if f.Notice == "" {
		f.Notice = notices[c.Query("done")]
	}
	view, ok := p.views[name]
	if !ok {
		return fmt.Errorf("no page %q", name)
	}
	var page bytes.Buffer
	if err := view.Execute(&page, f); err != nil {
		return fmt.Errorf("render page %s: %w", name, err)
	}
	c.Header("Cache-Control", "no-store")
	c.Data(status, "text/html; charset=utf-8", page.Bytes())
	return nil
}

// listVersion returns the version of the lists that the user sees, for the list's attribute data-version. Call it
// before the list is read. The script sends the version of its list with each refresh; If it is still
// the version, listVersion answers 304, and unchanged is true.
func (p *Pages) listVersion(c *gin.Context) (version string, unchanged bool, err error) {
	rows, err := p.view(c).ListVersion(c.Request.Context())
	if err != nil {
		return "", false, err
	}
	sum := sha256.Sum256([]byte(p.Version + " " + rows)) // another version of the program may show a list differently
	version = hex.EncodeToString(sum[:8])
	tag := `"` + version + `"`
	c.Header("ETag", tag)
	if c.GetHeader("X-Part") == "" || c.GetHeader("If-None-Match") != tag {
		return version, false, nil
	}
	c.Header("Cache-Control", "no-store")
	c.Status(http.StatusNotModified)
	return version, true, nil
}

// WriteError is the httpx.Writer for browsers. It shows the error, the fix, and the request id.
func (p *Pages) WriteError(c *gin.Context, status int, message string) {
	content := struct {
		Status           int
		Message, Request string
	}{status, sentence(message), httpx.RequestID(c)}
	title := http.StatusText(status)
	if title == "" {
		title = "Error"
	}
	if err := p.show(c, status, "error", frame{Title: title, Content: content}); err != nil {
		logctx.Log(c.Request.Context(), p.Log).WithError(err).Error("cannot render the error page")
		c.String(status, "%s", message)
	}
}

// sentence returns an error's text with a capital letter and a period.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	text = strings.ToUpper(text[:1]) + text[1:]
	if strings.ContainsAny(text[len(text)-1:], ".!?:") {
		return text
	}
	return text + "."
}

// notices are the texts for ?done=. The choice is fixed, so that a link cannot show other texts.
var notices = map[string]string{
	"cancelled":   "The build is cancelled.",
	"retried":     "The build is queued again.",
	"started":     "The build is queued.",
	"created":     "The automated build is saved.",
	"saved":       "Saved.",
	"deleted":     "Deleted.",
	"linked":      "The account is linked.",
	"unlinked":    "The account is unlinked.",
	"checked":     "The registry accepts the credential.",
	"signed-out":  "You are signed out.",
	"revoked":     "The pipeline token is revoked.",
	"rotated":     "The webhook secret is replaced.",
	"ended":       "The sessions are ended.",
	"removed":     "The person is removed.",
	"permissions": "Your permissions are up to date.",
	"fixed":       "The settings of the builder repository are changed.",
	"hook":        "The webhook is checked. Its state is below.",
}

// redirectDone redirects to a page that shows a notice.
func redirectDone(c *gin.Context, where, notice string) error {
	c.Redirect(http.StatusSeeOther, where+"?done="+notice)
	return nil
}

//go:embed static
var staticFiles embed.FS

// assetVersions returns the first digits of each static file's hash, by file name. Pages put them into
// the URL so that browsers can cache the file forever.
func assetVersions() (map[string]string, error) {
	files, err := staticFiles.ReadDir("static")
	if err != nil {
		return nil, fmt.Errorf("list static files: %w", err)
	}
	versions := map[string]string{}
	for _, f := range files {
		content, err := staticFiles.ReadFile("static/" + f.Name())
		if err != nil {
			return nil, fmt.Errorf("read static file %s: %w", f.Name(), err)
		}
		sum := sha256.Sum256(content)
		versions[f.Name()] = hex.EncodeToString(sum[:6])
	}
	return versions, nil
}

// serveStatic serves the stylesheet, the script and the icon, without a sign-in.
func (p *Pages) serveStatic(c *gin.Context) error {
	content, err := staticFiles.ReadFile("static/" + c.Param("file"))
	if err != nil {
		return fmt.Errorf("static file %q: %w", c.Param("file"), autobuild.ErrNotFound)
	}
	c.Header("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeContent(c.Writer, c.Request, c.Param("file"), time.Time{}, bytes.NewReader(content))
	return nil
}
