package pages

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"slipway/plugin/autobuild"
)

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

// static serves the stylesheet, the script and the icon, without a sign-in.
func (p *Pages) static(c *gin.Context) error {
	content, err := staticFiles.ReadFile("static/" + c.Param("file"))
	if err != nil {
		return fmt.Errorf("static file %q: %w", c.Param("file"), autobuild.ErrNotFound)
	}
	c.Header("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeContent(c.Writer, c.Request, c.Param("file"), time.Time{}, bytes.NewReader(content))
	return nil
}
