package catalog_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/catalog"
)

func TestACredentialIsSavedWithWhatItsCheckFound(t *testing.T) {
	e := newEnv(t)
	good, err := e.SaveRegistry(
		t.Context(),
		autobuild.Registry{Host: "http://" + e.registry + "/", Username: " ada ", Password: password("x")},
	)
	must.Succeed(t, err)
	if good.ID == "" {
		t.Error("ID: got none, want one")
	}
	if good.Host != e.registry {
		t.Errorf("host: got %v, want %v", good.Host, e.registry)
	}
	if good.Username != "ada" {
		t.Errorf(`username: got %q, want "ada"`, good.Username)
	}
	if good.Problem != "" {
		t.Errorf(`problem: got %q, want ""`, good.Problem)
	}
	if good.CheckedAt.IsZero() {
		t.Error("time of the check: got none, want one")
	}
	down, err := e.SaveRegistry(
		t.Context(),
		autobuild.Registry{Host: "127.0.0.1:1", Username: "ada", Password: password("hunter2")},
	)
	must.Succeed(t, err)
	if down.ID == "" {
		t.Error("ID: got none, want one")
	}
	if down.Problem == "" {
		t.Error("problem: got none, want one")
	}
	if strings.Contains(down.Problem, "hunter2") {
		t.Errorf(`problem: got %q, want it not to contain "hunter2"`, down.Problem)
	}
	checked, err := e.CheckRegistry(t.Context(), good.ID)
	must.Succeed(t, err)
	if checked.Problem != "" {
		t.Errorf(`problem: got %q, want ""`, checked.Problem)
	}
	if !checked.Password.Equal(password("x")) {
		t.Errorf("password: got %v, want %v", checked.Password, password("x"))
	}
	if _, err := e.CheckRegistry(t.Context(), "none"); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("none: got error %v, want %v", err, autobuild.ErrNotFound)
	}
}

func TestACredentialIsCheckedWithAnImageThatNeedsIt(t *testing.T) {
	e := newEnv(t)
	var images []string
	c := e.with(func(o *catalog.Options) {
		o.Registry = checker(
			func(image string, _ autobuild.Registry) error { images = append(images, image); return nil },
		)
	})
	r, err := c.SaveRegistry(
		t.Context(),
		autobuild.Registry{Host: e.registry, Username: "ada", Password: password("x")},
	)
	must.Succeed(t, err)
	if _, err := c.Create(t.Context(), e.draft()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.CheckRegistry(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	if want := []string{"", e.registry + "/acme/app", e.registry + "/acme/app"}; !slices.Equal(images, want) {
		t.Errorf("checked images: got %q, want %q", images, want)
	}
}

func TestAPasswordIsKeptForTheSameRegistryOnly(t *testing.T) {
	e := newEnv(t)
	r, err := e.SaveRegistry(
		t.Context(),
		autobuild.Registry{Host: e.registry, Username: "ada", Password: password("x")},
	)
	must.Succeed(t, err)
	again, err := e.SaveRegistry(
		t.Context(),
		autobuild.Registry{ID: r.ID, Host: r.Host, Username: "ada", Insecure: true},
	)
	must.Succeed(t, err)
	if !again.Insecure {
		t.Error("insecure: got false, want true")
	}
	if !again.Password.Equal(password("x")) {
		t.Errorf("password: got %v, want %v", again.Password, password("x"))
	}
	_, err = e.SaveRegistry(t.Context(), autobuild.Registry{ID: r.ID, Host: "evil.example.com", Username: "ada"})
	if got := fieldsOf(t, err); !slices.Equal(got, []string{"password"}) {
		t.Errorf("another host: got faults in %v, want %v", got, []string{"password"})
	}
	if _, err := e.SaveRegistry(
		t.Context(),
		autobuild.Registry{ID: "none", Host: r.Host, Username: "ada"},
	); !errors.Is(
		err,
		autobuild.ErrNotFound,
	) {
		t.Errorf("none: got error %v, want %v", err, autobuild.ErrNotFound)
	}
}

func TestInvalidCredentials(t *testing.T) {
	e := newEnv(t)
	good := autobuild.Registry{Host: e.registry, Username: "ada", Password: password("x")}
	_, err := e.SaveRegistry(t.Context(), good)
	must.Succeed(t, err)
	for field, r := range map[string]autobuild.Registry{
		"host":     {Host: "a b", Username: "ada", Password: password("x")},
		"username": {Host: "registry.example.com", Password: password("x")},
		"password": {Host: "registry.example.com", Username: "ada"},
	} {
		_, err := e.SaveRegistry(t.Context(), r)
		if got := fieldsOf(t, err); !slices.Equal(got, []string{field}) {
			t.Errorf("%s: got faults in %v, want %v", field, got, []string{field})
		}
	}
	_, err = e.SaveRegistry(t.Context(), good)
	if got := fieldsOf(t, err); !slices.Equal(got, []string{"host"}) {
		t.Errorf("a second one for a host: got faults in %v, want %v", got, []string{"host"})
	}
}

func TestACredentialIsBoundToAnAutomatedBuildThatCanUseIt(t *testing.T) {
	e := newEnv(t)
	saved, err := e.Create(t.Context(), e.draft())
	must.Succeed(t, err)
	r := autobuild.Registry{Host: e.registry, Username: "ada", Password: password("x"), AutomatedBuildID: saved.ID}
	bound, err := e.SaveRegistry(t.Context(), r)
	must.Succeed(t, err)
	if bound.AutomatedBuildID != saved.ID {
		t.Errorf("automated build ID: got %v, want %v", bound.AutomatedBuildID, saved.ID)
	}
	if bound.Purpose != autobuild.RegistryPush {
		t.Errorf("purpose: got %v, want %v", bound.Purpose, autobuild.RegistryPush)
	}
	for field, change := range map[string]func(*autobuild.Registry){
		"automated_build": func(r *autobuild.Registry) { r.AutomatedBuildID = "none" },
		"host":            func(r *autobuild.Registry) { r.Host += "/acme/ap" }, // not a prefix of acme/app in whole segments
		"purpose":         func(r *autobuild.Registry) { r.Purpose = "both" },
	} {
		wrong := r
		change(&wrong)
		_, err := e.SaveRegistry(t.Context(), wrong)
		if got := fieldsOf(t, err); !slices.Equal(got, []string{field}) {
			t.Errorf("fields with an error: got %v, want %s", got, field)
		}
	}
	must.Succeed(t, e.Delete(t.Context(), saved.ID))
	if all, err := e.store.Registries(t.Context()); err != nil {
		t.Fatalf("registries: got error %v, want none", err)
	} else if len(all) != 0 {
		t.Errorf("number of rows: got %d, want 0 (%v)", len(all), all)
	}
}

// A pull credential is checked without a push.
func TestAPullCredentialIsCheckedByItsLogin(t *testing.T) {
	e := newEnv(t)
	var images []string
	c := e.with(func(o *catalog.Options) {
		o.Registry = checker(
			func(image string, _ autobuild.Registry) error { images = append(images, image); return nil },
		)
	})
	if _, err := c.Create(t.Context(), e.draft()); err != nil {
		t.Fatal(err)
	}
	images = nil
	r := autobuild.Registry{Host: e.registry, Purpose: autobuild.RegistryPull, Username: "ada", Password: password("x")}
	if _, err := c.SaveRegistry(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if want := []string{""}; !slices.Equal(images, want) {
		t.Errorf("checked images: got %q, want a check of the login alone", images)
	}
}

// A step in the repository's own pipeline uses secrets that the gateway does not know.
func TestNoPushIsCheckedForTheRepositorysOwnPipeline(t *testing.T) {
	e := newEnv(t)
	checks := 0
	c := e.with(func(o *catalog.Options) {
		o.Engines = []string{"own"}
		o.Registry = checker(func(string, autobuild.Registry) error { checks++; return errors.New("refused") })
	})
	if _, err := e.SaveRegistry(
		t.Context(),
		autobuild.Registry{Host: e.registry, Username: "ada", Password: password("x")},
	); err != nil {
		t.Fatal(err)
	}
	d := e.draft()
	d.Engine = "own"
	saved, err := c.Create(t.Context(), d)
	must.Succeed(t, err)
	if checks != 0 {
		t.Errorf("checks: got %v, want 0", checks)
	}
	if len(saved.Warnings) != 0 {
		t.Errorf("number of warnings: got %d, want 0 (%v)", len(saved.Warnings), saved.Warnings)
	}
}
