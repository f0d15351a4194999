package catalog_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/catalog"
)

func TestACredentialIsSavedWithWhatItsCheckFound(t *testing.T) {
	w := newWorld(t)
	good, err := w.SaveRegistry(
		t.Context(),
		autobuild.Registry{Host: "http://" + w.registry + "/", Username: " ada ", Password: password("x")},
	)
	must(t, err)
	if good.ID == "" || good.Host != w.registry || good.Username != "ada" || good.Problem != "" ||
		good.CheckedAt.IsZero() {
		t.Errorf("%+v", good)
	}
	down, err := w.SaveRegistry(
		t.Context(),
		autobuild.Registry{Host: "127.0.0.1:1", Username: "ada", Password: password("hunter2")},
	)
	must(t, err)
	if down.ID == "" || down.Problem == "" || strings.Contains(down.Problem, "hunter2") {
		t.Errorf("of a registry that is down: %+v", down)
	}
	checked, err := w.CheckRegistry(t.Context(), good.ID)
	must(t, err)
	if checked.Problem != "" || !checked.Password.Equal(password("x")) {
		t.Errorf("%+v", checked)
	}
	if _, err := w.CheckRegistry(t.Context(), "none"); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("none: %v", err)
	}
}

func TestACredentialIsCheckedWithAnImageThatNeedsIt(t *testing.T) {
	w := newWorld(t)
	var images []string
	c := w.with(func(o *catalog.Options) {
		o.Registry = checker(
			func(image string, _ autobuild.Registry) error { images = append(images, image); return nil },
		)
	})
	r, err := c.SaveRegistry(
		t.Context(),
		autobuild.Registry{Host: w.registry, Username: "ada", Password: password("x")},
	)
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
	r, err := w.SaveRegistry(
		t.Context(),
		autobuild.Registry{Host: w.registry, Username: "ada", Password: password("x")},
	)
	must(t, err)
	again, err := w.SaveRegistry(
		t.Context(),
		autobuild.Registry{ID: r.ID, Host: r.Host, Username: "ada", Insecure: true},
	)
	must(t, err)
	if !again.Insecure || !again.Password.Equal(password("x")) {
		t.Errorf("%+v", again)
	}
	_, err = w.SaveRegistry(t.Context(), autobuild.Registry{ID: r.ID, Host: "evil.example.com", Username: "ada"})
	if got := fieldsOf(t, err); !slices.Equal(got, []string{"password"}) {
		t.Errorf("another host: faults in %v", got)
	}
	if _, err := w.SaveRegistry(
		t.Context(),
		autobuild.Registry{ID: "none", Host: r.Host, Username: "ada"},
	); !errors.Is(
		err,
		autobuild.ErrNotFound,
	) {
		t.Errorf("none: %v", err)
	}
}

func TestFaultsOfACredential(t *testing.T) {
	w := newWorld(t)
	good := autobuild.Registry{Host: w.registry, Username: "ada", Password: password("x")}
	_, err := w.SaveRegistry(t.Context(), good)
	must(t, err)
	for field, r := range map[string]autobuild.Registry{
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

func TestACredentialIsBoundToAnAutomatedBuildThatCanUseIt(t *testing.T) {
	w := newWorld(t)
	saved, err := w.Create(t.Context(), w.draft())
	must(t, err)
	r := autobuild.Registry{Host: w.registry, Username: "ada", Password: password("x"), AutomatedBuildID: saved.ID}
	bound, err := w.SaveRegistry(t.Context(), r)
	must(t, err)
	if bound.AutomatedBuildID != saved.ID || bound.Purpose != autobuild.RegistryPush {
		t.Errorf("got %+v", bound)
	}
	for field, change := range map[string]func(*autobuild.Registry){
		"automated_build": func(r *autobuild.Registry) { r.AutomatedBuildID = "none" },
		"host":            func(r *autobuild.Registry) { r.Host += "/acme/ap" }, // not the beginning of acme/app in whole segments
		"purpose":         func(r *autobuild.Registry) { r.Purpose = "both" },
	} {
		wrong := r
		change(&wrong)
		_, err := w.SaveRegistry(t.Context(), wrong)
		if got := fieldsOf(t, err); !slices.Equal(got, []string{field}) {
			t.Errorf("got faults in %v, want %s", got, field)
		}
	}
	must(t, w.Delete(t.Context(), saved.ID))
	if all, err := w.store.Registries(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("got %d credentials after the automated build was deleted, %v; want none", len(all), err)
	}
}

// No image is pushed with a pull credential, so no push is begun to check it.
func TestAPullCredentialIsCheckedByItsLogin(t *testing.T) {
	w := newWorld(t)
	var images []string
	c := w.with(func(o *catalog.Options) {
		o.Registry = checker(
			func(image string, _ autobuild.Registry) error { images = append(images, image); return nil },
		)
	})
	if _, err := c.Create(t.Context(), w.draft()); err != nil {
		t.Fatal(err)
	}
	images = nil
	r := autobuild.Registry{Host: w.registry, Purpose: autobuild.RegistryPull, Username: "ada", Password: password("x")}
	if _, err := c.SaveRegistry(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if want := []string{""}; !slices.Equal(images, want) {
		t.Errorf("got checks of %q, want of the login alone", images)
	}
}

// A step in the repository's own pipeline pushes with secrets that the gateway does not know.
func TestNoPushIsCheckedForTheRepositorysOwnPipeline(t *testing.T) {
	w := newWorld(t)
	checks := 0
	c := w.with(func(o *catalog.Options) {
		o.Engines = []string{"own"}
		o.Registry = checker(func(string, autobuild.Registry) error { checks++; return errors.New("refused") })
	})
	if _, err := w.SaveRegistry(
		t.Context(),
		autobuild.Registry{Host: w.registry, Username: "ada", Password: password("x")},
	); err != nil {
		t.Fatal(err)
	}
	d := w.draft()
	d.Engine = "own"
	saved, err := c.Create(t.Context(), d)
	must(t, err)
	if checks != 0 || len(saved.Warnings) != 0 {
		t.Errorf("got %d checks and warnings %q, want none", checks, saved.Warnings)
	}
}
