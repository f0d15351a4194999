package pages_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"slipway/plugin/autobuild"
	"slipway/plugin/web/pages"
	"slipway/plugin/web/pages/pagestest"
)

const enginesPage = "/settings/engines"

func TestEnginesAreShown(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	r := s.get(t, autobuild.RoleAdmin, enginesPage)
	r.want(
		t,
		http.StatusOK,
		"Embedded default",
		"Concurrent builds 2 ( SLIPWAY_CONCURRENCY )",
		"started when needed",
		"Server https://drone.example.com",
		"Pipelines in the builder repository acme/builder",
		"Step image registry.example.com/slipway",
		"each step starts its own (privileged)",
		"docker, linux/amd64",
		"no limit",
		"Not configured",
		"SLIPWAY_WOODPECKER_SERVER",
		"SLIPWAY_WOODPECKER_TOKEN",
		"docs/woodpecker.md",
		"slipway-…",
		"continuous-integration/drone",
		"DRONE_STATUS_DISABLED=true",
		"on commits of acme/builder only",
	)
	for _, absent := range []string{"SLIPWAY_DRONE_SERVER", "ci/woodpecker", "DRONE_YAML_ENDPOINT"} {
		if strings.Contains(words(r.main()), absent) {
			t.Errorf("page: got %s, want it without", absent)
		}
	}
	drone := pagestest.Drone(s.CI)
	drone.Repository, drone.Builder, drone.Limit = "", "tcp://builder.example.com:1234", 4
	woodpecker := drone
	woodpecker.Name, woodpecker.Prefix = "woodpecker", "SLIPWAY_WOODPECKER_"
	s.Pages.Engines = []pages.Engine{woodpecker, drone, pagestest.Embedded()}
	s.get(t, autobuild.RoleAdmin, enginesPage).want(t, http.StatusOK,
		"Woodpecker default", "Pipelines in each repository", "Builder tcp://builder.example.com:1234", "Concurrent builds 4",
		"ci/woodpecker/manual/slipway Woodpecker The result of a pipeline, in addition to slipway-…",
		"It cannot be turned off.")
}

// A slow server does not delay the page. The page loads that part later, or the user follows a link.
func TestAServerIsInspectedOnRequestOnly(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	r := s.get(t, autobuild.RoleAdmin, enginesPage)
	if len(s.CI.InspectionLimits()) != 0 {
		t.Fatal("requests to the CI server for the page: got some, want none")
	}
	later := byID(r.Page, "look-drone")
	if later == nil {
		t.Fatal("part of the page: got none, want one")
	}
	if attr(later, "data-from") != enginesPage+"?look=drone" {
		t.Fatalf("attribute data-from: got %v, want %v", attr(later, "data-from"), enginesPage+"?look=drone")
	}
	if links := find(later, "a"); len(links) != 1 {
		t.Fatalf("number of links: got %d, want 1 (%v)", len(links), links)
	} else if attr(links[0], "href") != enginesPage+"?look=drone#h-drone" {
		t.Errorf("attribute href: got %v, want %v", attr(links[0], "href"), enginesPage+"?look=drone#h-drone")
	}
	looked := byID(s.get(t, autobuild.RoleAdmin, enginesPage+"?look=drone").Page, "look-drone")
	if looked == nil {
		t.Fatal("part of the page: got none, want one")
	}
	if attr(looked, "data-from") != "" {
		t.Fatalf(`attribute data-from: got %q, want ""`, attr(looked, "data-from"))
	}
	var rows []string
	for _, row := range find(looked, "tr")[1:] {
		rows = append(rows, words(row))
	}
	want := "ok server Drone 2.28.1 at https://drone.example.com, its clock agrees | unknown secret extension was " +
		"not asked since the gateway started | error timeout acme/builder has a timeout of 60 minutes | " +
		"error config extension the last request, 3s ago, was refused: " +
		"<b>signed</b> with another secret"
	if got := strings.Join(rows, " | "); got != want {
		t.Errorf("found %q, want %q", got, want)
	}
	if all := s.CI.InspectionLimits(); len(all) != 1 {
		t.Fatalf("number of rows: got %d, want 1 (%v)", len(all), all)
	} else if all[0] <= 0 {
		t.Errorf("time limit of the inspection: got %v, want more than 0", all[0])
	} else if all[0] > 10*time.Second {
		t.Errorf("time limit of the inspection: got %v, want at most %v", all[0], 10*time.Second)
	}
	for _, other := range []string{"embedded", "woodpecker", "none"} {
		s.get(t, autobuild.RoleAdmin, enginesPage+"?look="+other).want(t, http.StatusOK, "Check Drone")
	}
	if len(s.CI.InspectionLimits()) != 1 {
		t.Error("inspections for another engine: got some, want none")
	}
}

func TestTheEnvironmentIsShownOnDemand(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	where := enginesPage + "/drone/environment"
	for _, address := range []string{enginesPage, where} {
		if r := s.get(t, autobuild.RoleAdmin, address); strings.Contains(r.Text, pagestest.ExtensionSecret) {
			t.Errorf("GET %s: got a secret, want none", address)
		}
	}
	shown := s.follow(t, autobuild.RoleAdmin, s.post(t, autobuild.RoleAdmin, where))
	shown.want(
		t,
		http.StatusOK,
		"Environment of the Drone server",
		"# signs DRONE_YAML_SECRET="+pagestest.ExtensionSecret,
		"DRONE_YAML_ENDPOINT="+pagestest.URL+"/extensions/drone/config",
	)
	if shown.Header.Get("Cache-Control") != "no-store" {
		t.Error("Cache-Control of the secrets: got another value, want no-store")
	}
	if len(s.CI.InspectionLimits()) != 0 {
		t.Error("inspections for the environment: got some, want none")
	}
	for role, status := range map[autobuild.Role]int{
		pagestest.Writer: http.StatusForbidden, pagestest.Reader: http.StatusForbidden, "": http.StatusUnauthorized,
	} {
		refused := s.post(t, role, where)
		if refused.StatusCode != status {
			t.Errorf("status: got %v, want %v", refused.StatusCode, status)
		}
		if strings.Contains(refused.Text, pagestest.ExtensionSecret) {
			t.Errorf("text: got %q, want it not to contain %q", refused.Text, pagestest.ExtensionSecret)
		}
	}
	for _, other := range []string{"embedded", "woodpecker", "none"} {
		s.post(t, autobuild.RoleAdmin, enginesPage+"/"+other+"/environment").want(t, http.StatusNotFound)
	}
}

// The button changes the settings of the builder repository. Only administrators have it.
func TestTheButtonChangesTheBuilderRepository(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	const fix = enginesPage + "/drone/fix"
	s.get(t, autobuild.RoleAdmin, enginesPage+"?look=drone").want(
		t, http.StatusOK, "acme/builder has a timeout of 60 minutes", "Change the settings of acme/builder",
	)
	done := s.post(t, autobuild.RoleAdmin, fix)
	if got, want := done.Header.Get("Location"), enginesPage+"?look=drone&done=fixed#h-drone"; got != want {
		t.Errorf("location: got %q, want %q", got, want)
	}
	s.get(t, autobuild.RoleAdmin, enginesPage+"?look=drone&done=fixed").want(
		t, http.StatusOK, "The settings of the builder repository are changed.",
	)
	for role, status := range map[autobuild.Role]int{
		pagestest.Writer: http.StatusForbidden, pagestest.Reader: http.StatusForbidden, "": http.StatusUnauthorized,
	} {
		if got := s.post(t, role, fix).StatusCode; got != status {
			t.Errorf("status for role %q: got %d, want %d", role, got, status)
		}
	}
	for _, other := range []string{"embedded", "woodpecker", "none"} {
		s.post(t, autobuild.RoleAdmin, enginesPage+"/"+other+"/fix").want(t, http.StatusNotFound)
	}
	if got := s.CI.Fixes(); got != 1 {
		t.Errorf("changes: got %d, want 1", got)
	}
}

// The status of a failed change is that of its error. It is never about the person's own sign-in.
func TestAFailedChangeHasTheStatusOfItsError(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	for err, status := range map[error]int{
		errors.New("no route"):    http.StatusBadGateway,
		autobuild.ErrForbidden:    http.StatusBadGateway,
		autobuild.ErrUnauthorized: http.StatusBadGateway,
		autobuild.ErrUnavailable:  http.StatusServiceUnavailable,
		autobuild.ErrConflict:     http.StatusConflict,
		autobuild.ErrNotFound:     http.StatusNotFound,
		context.DeadlineExceeded:  http.StatusGatewayTimeout,
	} {
		s.CI.FailFix(fmt.Errorf("make our user an administrator of Drone: %w", err))
		s.post(t, autobuild.RoleAdmin, enginesPage+"/drone/fix").
			want(t, status, "Make our user an administrator of Drone: "+err.Error()+".")
	}
}

func TestABuildLeadsToItsPipeline(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	ref, link := fmt.Sprintf("acme/builder#%d", s.Live.Number), path(s.Live, "/pipeline?attempt=1")
	r := s.get(t, pagestest.Reader, path(s.Live, ""))
	r.want(t, http.StatusOK, "Pipeline "+ref+" on drone")
	if !strings.Contains(r.Text, `href="`+link+`"`) {
		t.Errorf("link to %s: got none, want one", link)
	}
	for _, address := range []string{link, path(s.Live, "/pipeline")} {
		s.leads(t, address, fmt.Sprintf("https://drone.example.com/acme/builder/%d", s.Live.Number))
	}
	for name, without := range map[string]autobuild.Build{"on the embedded engine": s.Done, "that waits": s.Waiting} {
		if r := s.get(t, pagestest.Reader, path(without, "")); strings.Contains(r.Text, "/pipeline") {
			t.Errorf("build %s: got a link to a pipeline, want none", name)
		}
		s.get(t, pagestest.Reader, path(without, "/pipeline")).
			want(t, http.StatusNotFound, "no pipeline on a configured CI")
	}
	if err := s.Store.SetEngineRef(t.Context(), s.Live.ID, 1, "acme/builder"); err != nil {
		t.Fatal(err)
	}
	if r := s.get(t, pagestest.Reader, path(s.Live, "")); strings.Contains(r.Text, "/pipeline") {
		t.Error("build without a pipeline: got a link to one, want none")
	}
	s.get(t, pagestest.Reader, path(s.Live, "/pipeline?attempt=2")).want(t, http.StatusNotFound)
	s.get(t, pagestest.Reader, "/builds/99999/pipeline").want(t, http.StatusNotFound)
	s.Pages.Engines = []pages.Engine{pagestest.Embedded(), pagestest.Absent("drone")}
	s.get(t, pagestest.Reader, link).want(t, http.StatusNotFound)
}

// Addresses of pipelines on other servers are rejected.
func TestPipelinesAreOnTheConfiguredServerAlone(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	link := path(s.Live, "/pipeline?attempt=1")
	for _, address := range []string{
		"https://evil.example/1", "https://drone.example.com.evil.example/1",
		"https://drone.example.com@evil.example/", "//evil.example", "javascript:alert(1)", pagestest.CIServer,
	} {
		s.CI.SetPipelineURL(address, nil)
		s.get(t, pagestest.Reader, link).
			want(t, http.StatusBadGateway, "Drone did not return the address of this pipeline.")
	}
	s.CI.SetPipelineURL("", fmt.Errorf("deleted: %w", autobuild.ErrNotFound))
	s.get(t, pagestest.Reader, link).
		want(t, http.StatusNotFound, "Drone has no pipeline for this attempt.")
	for err, status := range map[error]int{
		autobuild.ErrUnauthorized: http.StatusBadGateway,
		autobuild.ErrUnavailable:  http.StatusServiceUnavailable,
		errors.New("no address"):  http.StatusBadGateway,
	} {
		s.CI.SetPipelineURL("", err)
		s.get(t, pagestest.Reader, link).want(t, status, "Settings → Engines")
	}
}

func TestTheEngineCanBeChosenIfThereAreSeveral(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	edit := "/automated-builds/" + s.Worker.ID + "/edit"
	form := s.get(t, autobuild.RoleAdmin, edit)
	var offered []string
	for _, o := range find(byID(form.Page, "engine"), "option") {
		offered = append(offered, attr(o, "value"))
	}
	if got := strings.Join(offered, " "); got != "embedded drone" {
		t.Errorf(`offered engines: got %q, want "embedded drone"`, got)
	} else if form.value(t, "engine") != "drone" {
		t.Errorf(`field engine: got %q, want "drone"`, form.value(t, "engine"))
	}
	for _, name := range []string{"embedded", "drone"} {
		s.post(t, autobuild.RoleAdmin, edit, draft(s, "repository", "acme/worker", "engine", name)...).
			wantRedirect(t, "/automated-builds/"+s.Worker.ID+"?done=saved")
		if a, err := s.Store.AutomatedBuild(t.Context(), s.Worker.ID); err != nil {
			t.Fatalf("automated build: got error %v, want none", err)
		} else if a.Engine != name {
			t.Errorf("engine: got %v, want %v", a.Engine, name)
		}
	}
	kept := s.post(t, autobuild.RoleAdmin, edit, draft(s, "engine", "drone", "add-rule", "1")...)
	if kept.value(t, "engine") != "drone" {
		t.Error("chosen engine after adding a rule: got another one, want it kept")
	}
	wrong := s.post(t, autobuild.RoleAdmin, edit, draft(s, "engine", "woodpecker")...)
	wrong.want(t, http.StatusUnprocessableEntity, `"woodpecker" is not configured here.`)
	checkPage(t, wrong)
	if fault := byID(
		wrong.Page,
		"engine-fault",
	); fault == nil {
		t.Fatal("fault at the field: got none, want one")
	} else if words(fault) != `"woodpecker" is not configured here.` {
		t.Errorf("fault: got %q, want %q", words(fault), `"woodpecker" is not configured here.`)
	}
	s.Pages.Engines = []pages.Engine{pagestest.Embedded(), pagestest.Absent("drone"), pagestest.Absent("woodpecker")}
	s.get(t, autobuild.RoleAdmin, edit).want(t, http.StatusOK, "drone (not configured)")
	only := s.get(t, autobuild.RoleAdmin, "/automated-builds/"+s.App.ID+"/edit")
	if byID(only.Page, "engine") != nil {
		t.Fatalf("field engine: got %v, want none", byID(only.Page, "engine"))
	}
	if only.value(t, "engine") != "embedded" {
		t.Errorf(`field engine: got %q, want "embedded"`, only.value(t, "engine"))
	}
}

func byID(root *html.Node, id string) *html.Node {
	for n := range root.Descendants() {
		if attr(n, "id") == id {
			return n
		}
	}
	return nil
}

// leads returns the redirect to another site.
func (s *env) leads(t *testing.T, address, to string) {
	t.Helper()
	r := s.get(t, pagestest.Reader, address)
	if r.StatusCode != http.StatusFound {
		t.Errorf("%s: got StatusCode %v, want %v", address, r.StatusCode, http.StatusFound)
	}
	if r.Header.Get("Location") != to {
		t.Errorf("%s: got Location %v, want %v", address, r.Header.Get("Location"), to)
	}
}
