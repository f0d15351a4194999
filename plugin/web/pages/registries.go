package pages

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"slipway/config/secret"
	ab "slipway/plugin/autobuild"
)

type registriesPage struct {
	Rows           []ab.Registry
	Host, Username string
	Insecure       bool
}

// registries lists the stored credentials.
func (p *Pages) registries(c *gin.Context) error {
	return p.showRegistries(c, http.StatusOK, registriesPage{}, nil)
}

func (p *Pages) showRegistries(c *gin.Context, status int, content registriesPage, wrong faults) error {
	var err error
	if content.Rows, err = p.Store.Registries(c.Request.Context()); err != nil {
		return fmt.Errorf("list registries: %w", err)
	}
	return p.show(c, status, "registries", frame{Title: "Registries", Nav: "settings", Faults: wrong, Content: content})
}

// saveRegistry adds a credential, or replaces the one of the same host. It is checked
// live; one that fails is kept with what the check found.
func (p *Pages) saveRegistry(c *gin.Context) error {
	get := func(name string) string { return strings.TrimSpace(c.PostForm(name)) }
	content := registriesPage{Host: get("host"), Username: get("username"), Insecure: c.PostForm("insecure") != ""}
	password := c.PostForm("password")
	var wrong faults
	if content.Host == "" || strings.Contains(content.Host, "://") || strings.ContainsAny(content.Host, " @?#") {
		wrong.add("host", "write the registry's host as image names do, as registry.example.com or registry.example.com/team")
	}
	if content.Username == "" {
		wrong.add("username", "write the user name, or what your registry takes in its place with a token")
	}
	if password == "" {
		wrong.add("password", "paste the password or token")
	}
	if wrong != nil {
		return p.showRegistries(c, http.StatusUnprocessableEntity, content, wrong)
	}
	r := ab.Registry{Host: content.Host, Username: content.Username, Password: secret.New(password), Insecure: content.Insecure}
	known, err := p.Store.Registries(c.Request.Context())
	if err != nil {
		return fmt.Errorf("list registries: %w", err)
	}
	for _, k := range known {
		if k.Host == r.Host {
			r.ID = k.ID
		}
	}
	saved, err := p.Catalog.SaveRegistry(c.Request.Context(), r)
	if wrong := faultsOf(err, "host"); wrong != nil {
		return p.showRegistries(c, http.StatusUnprocessableEntity, content, wrong)
	}
	if err != nil {
		return fmt.Errorf("save registry %s: %w", r.Host, err)
	}
	return p.afterCheck(c, saved)
}

// checkRegistry tries a stored credential now.
func (p *Pages) checkRegistry(c *gin.Context) error {
	checked, err := p.Catalog.CheckRegistry(c.Request.Context(), c.Param("id"))
	if err != nil {
		return fmt.Errorf("check registry %q: %w", c.Param("id"), err)
	}
	return p.afterCheck(c, checked)
}

func (p *Pages) afterCheck(c *gin.Context, r ab.Registry) error {
	if r.Problem != "" {
		c.Redirect(http.StatusSeeOther, "/settings/registries") // its row says what is wrong
		return nil
	}
	return done(c, "/settings/registries", "checked")
}

// deleteRegistry asks, and forgets a credential when its host was typed.
func (p *Pages) deleteRegistry(c *gin.Context) error {
	r, err := p.Store.Registry(c.Request.Context(), c.Param("id"))
	if err != nil {
		return fmt.Errorf("registry %q: %w", c.Param("id"), err)
	}
	ok, err := p.confirmed(c, "settings", confirmPage{
		Question:    "Forget the credential for " + r.Host + "?",
		Consequence: "Builds of images that begin with " + r.Host + " can no longer push, unless a shorter prefix has a credential.",
		Name:        r.Host, Button: "Forget credential", Action: "/settings/registries/" + r.ID + "/delete", Back: "/settings/registries",
	})
	if !ok {
		return err
	}
	if err := p.Store.DeleteRegistry(c.Request.Context(), r.ID); err != nil {
		return fmt.Errorf("delete registry %s: %w", r.Host, err)
	}
	return done(c, "/settings/registries", "deleted")
}
