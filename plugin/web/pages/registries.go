package pages

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/credentials"
)

type registriesPage struct {
	Rows                          []registryRow
	Host, Username                string
	Insecure                      bool
	Purpose, AutomatedBuild       string
	Purposes, AutomatedBuildNames []option
}

type registryRow struct {
	autobuild.Registry
	Only    string // full name of the repository that the credential is bound to; empty means not bound
	Warning string
}

// showRegistries lists the stored credentials.
func (p *Pages) showRegistries(c *gin.Context) error {
	return p.renderRegistries(c, http.StatusOK, registriesPage{}, nil)
}

func (p *Pages) renderRegistries(c *gin.Context, status int, content registriesPage, invalid faults) error {
	stored, err := p.Store.Registries(c.Request.Context())
	if err != nil {
		return fmt.Errorf("list registries: %w", err)
	}
	automated, err := p.Store.BareAutomatedBuilds(c.Request.Context(), autobuild.BareFilter{})
	if err != nil {
		return err
	}
	content.Purposes = []option{
		{string(autobuild.RegistryPush), "Push images"}, {string(autobuild.RegistryPull), "Pull base images"},
	}
	content.AutomatedBuildNames = []option{{"", "All automated builds"}}
	names := map[string]string{}
	for _, a := range automated {
		names[a.ID] = a.Repository.FullName
		content.AutomatedBuildNames = append(
			content.AutomatedBuildNames,
			option{a.ID, a.Repository.FullName + " → " + a.Image},
		)
	}
	for _, r := range stored {
		content.Rows = append(content.Rows, registryRow{
			Registry: r, Only: names[r.AutomatedBuildID], Warning: credentials.Warning(r),
		})
	}
	return p.show(
		c,
		status,
		"registries",
		frame{Title: "Registries", Nav: "settings", Faults: invalid, Content: content},
	)
}

// saveRegistry adds a credential, or replaces the one with the same host, purpose and automated
// build. It is checked at the registry. A rejected credential is stored with the error.
func (p *Pages) saveRegistry(c *gin.Context) error {
	get := func(name string) string { return strings.TrimSpace(c.PostForm(name)) }
	content := registriesPage{
		Host: get("host"), Username: get("username"), Insecure: c.PostForm("insecure") != "",
		Purpose: get("purpose"), AutomatedBuild: get("automated_build"),
	}
	password := c.PostForm("password")
	if invalid := checkRegistryForm(content, password); invalid != nil {
		return p.renderRegistries(c, http.StatusUnprocessableEntity, content, invalid)
	}
	r := autobuild.Registry{
		Host: content.Host, Username: content.Username, Password: secret.New(password), Insecure: content.Insecure,
		Purpose: autobuild.RegistryPurpose(content.Purpose), AutomatedBuildID: content.AutomatedBuild,
	}
	if r.Purpose == "" {
		r.Purpose = autobuild.RegistryPush
	}
	known, err := p.Store.Registries(c.Request.Context())
	if err != nil {
		return fmt.Errorf("list registries: %w", err)
	}
	for _, k := range known {
		if k.Host == r.Host && k.Purpose == r.Purpose && k.AutomatedBuildID == r.AutomatedBuildID {
			r.ID = k.ID
		}
	}
	saved, err := p.Catalog.SaveRegistry(c.Request.Context(), r)
	if invalid := faultsOf(err, "host"); invalid != nil {
		return p.renderRegistries(c, http.StatusUnprocessableEntity, content, invalid)
	}
	if err != nil {
		return fmt.Errorf("save registry %s: %w", r.Host, err)
	}
	return p.afterCheck(c, saved)
}

func checkRegistryForm(content registriesPage, password string) (invalid faults) {
	if content.Host == "" || strings.Contains(content.Host, "://") || strings.ContainsAny(content.Host, " @?#") {
		invalid.add(
			"host",
			"write the registry as in image names, for example registry.example.com or registry.example.com/team",
		)
	}
	if content.Username == "" {
		invalid.add("username", "enter the user name")
	}
	if password == "" {
		invalid.add("password", "enter the password or token")
	}
	return invalid
}

// checkRegistry checks a stored credential at its registry.
func (p *Pages) checkRegistry(c *gin.Context) error {
	checked, err := p.Catalog.CheckRegistry(c.Request.Context(), c.Param("id"))
	if err != nil {
		return fmt.Errorf("check registry %q: %w", c.Param("id"), err)
	}
	return p.afterCheck(c, checked)
}

func (p *Pages) afterCheck(c *gin.Context, r autobuild.Registry) error {
	if r.Problem != "" {
		c.Redirect(http.StatusSeeOther, "/settings/registries") // its row shows the error
		return nil
	}
	return redirectDone(c, "/settings/registries", "checked")
}

// deleteRegistry deletes a credential after a confirmation.
func (p *Pages) deleteRegistry(c *gin.Context) error {
	r, err := p.Store.Registry(c.Request.Context(), c.Param("id"))
	if err != nil {
		return fmt.Errorf("registry %q: %w", c.Param("id"), err)
	}
	consequence := "Builds can no longer push images that start with " + r.Host + ", unless another credential matches."
	if r.Purpose == autobuild.RegistryPull {
		consequence = "Builds can no longer pull private base images from " + r.Host + ", unless another credential matches."
	}
	ok, err := p.confirmed(c, "settings", confirmPage{
		Question:    "Delete the " + string(r.Purpose) + " credential for " + r.Host + "?",
		Consequence: consequence,
		Name:        r.Host,
		Button:      "Delete credential",
		Action:      "/settings/registries/" + r.ID + "/delete",
		Back:        "/settings/registries",
	})
	if !ok {
		return err
	}
	if err := p.Store.DeleteRegistry(c.Request.Context(), r.ID); err != nil {
		return fmt.Errorf("delete registry %s: %w", r.Host, err)
	}
	return redirectDone(c, "/settings/registries", "deleted")
}
