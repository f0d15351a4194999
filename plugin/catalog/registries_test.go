package catalog_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	ab "slipway/plugin/autobuild"
	"slipway/plugin/catalog"
)

func TestACredentialIsSavedWithWhatItsCheckFound(t *testing.T) {
	w := newWorld(t)
	good, err := w.SaveRegistry(t.Context(), ab.Registry{Host: "http://" + w.registry + "/", Username: " ada ", Password: password("x")})
	must(t, err)
	if good.ID == "" || good.Host != w.registry || good.Username != "ada" || good.Problem != "" || good.CheckedAt.IsZero() {
		t.Errorf("%+v", good)
	}
	down, err := w.SaveRegistry(t.Context(), ab.Registry{Host: "127.0.0.1:1", Username: "ada", Password: password("hunter2")})
	must(t, err)
	if down.ID == "" || down.Problem == "" || strings.Contains(down.Problem, "hunter2") {
		t.Errorf("of a registry that is down: %+v", down)
	}
	checked, err := w.CheckRegistry(t.Context(), good.ID)
	must(t, err)
	if checked.Problem != "" || !checked.Password.Equal(password("x")) {
		t.Errorf("%+v", checked)
	}
	if _, err := w.CheckRegistry(t.Context(), "none"); !errors.Is(err, ab.ErrNotFound) {
		t.Errorf("none: %v", err)
	}
}

func TestACredentialIsCheckedWithAnImageThatNeedsIt(t *testing.T) {
	w := newWorld(t)
	var images []string
	c := w.with(func(o *catalog.Options) {
		o.Registry = checker(func(image string, _ ab.Registry) error { images = append(images, image); return nil })
	})
	r, err := c.SaveRegistry(t.Context(), ab.Registry{Host: w.registry, Username: "ada", Password: password("x")})
	must(t, err)
	if _, err := c.Create(t.Context(), w.draft()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.CheckRegistry(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	if want := []string{"", w.registry + "/acme/app", w.registry + "/acme/app"}; !slices.Equal(images, want) {
		t.Errorf("checked %q, want %q", images, want)
	}
}

func TestAPasswordIsKeptForTheSameRegistryOnly(t *testing.T) {
	w := newWorld(t)
	r, err := w.SaveRegistry(t.Context(), ab.Registry{Host: w.registry, Username: "ada", Password: password("x")})
	must(t, err)
	again, err := w.SaveRegistry(t.Context(), ab.Registry{ID: r.ID, Host: r.Host, Username: "ada", Insecure: true})
	must(t, err)
	if !again.Insecure || !again.Password.Equal(password("x")) {
		t.Errorf("%+v", again)
	}
	_, err = w.SaveRegistry(t.Context(), ab.Registry{ID: r.ID, Host: "evil.example.com", Username: "ada"})
	if got := fieldsOf(t, err); !slices.Equal(got, []string{"password"}) {
		t.Errorf("another host: faults in %v", got)
	}
	if _, err := w.SaveRegistry(t.Context(), ab.Registry{ID: "none", Host: r.Host, Username: "ada"}); !errors.Is(err, ab.ErrNotFound) {
		t.Errorf("none: %v", err)
	}
}

func TestFaultsOfACredential(t *testing.T) {
	w := newWorld(t)
	good := ab.Registry{Host: w.registry, Username: "ada", Password: password("x")}
	_, err := w.SaveRegistry(t.Context(), good)
	must(t, err)
	for field, r := range map[string]ab.Registry{
		"host":     {Host: "a b", Username: "ada", Password: password("x")},
		"username": {Host: "registry.example.com", Password: password("x")},
		"password": {Host: "registry.example.com", Username: "ada"},
	} {
		_, err := w.SaveRegistry(t.Context(), r)
		if got := fieldsOf(t, err); !slices.Equal(got, []string{field}) {
			t.Errorf("%s: faults in %v", field, got)
		}
	}
	_, err = w.SaveRegistry(t.Context(), good)
	if got := fieldsOf(t, err); !slices.Equal(got, []string{"host"}) {
		t.Errorf("a second one for a host: faults in %v", got)
	}
}
