package pages_test

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/plugin/autobuild"
	"slipway/plugin/web/pages/pagestest"
)

func path(b autobuild.Build, rest string) string { return fmt.Sprintf("/builds/%d%s", b.Number, rest) }

func TestBuildShowsItsStages(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	tests := map[string]struct {
		build autobuild.Build
		steps string
		texts []string
	}{
		"succeeded": {
			s.Done,
			"received queued fetch build push reported",
			[]string{
				"succeeded",
				"88267e8",
				"1.2",
				"62 MB",
				"docker pull registry.example.com/acme/app:1.2",
				"9 of 12 steps cached",
				"SUCCESSFUL",
				"a delivery",
				"releases",
			},
		},
		"failed":  {s.Broken, "received queued fetch build reported", []string{"failed", "exit code 1", "FAILED"}},
		"error":   {s.Errored, "received queued fetch build reported", []string{"error", "connection refused"}},
		"running": {s.Live, "received queued fetch build push reported", []string{"running", "Cancel build"}},
		"queued": {
			s.Waiting,
			"received queued fetch build push reported",
			[]string{"queued", "No attempt has started yet"},
		},
		"cancelled": {s.Undone, "received queued reported", []string{"cancelled", "cancelled by Bob Moss", "No log"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := s.get(t, pagestest.Writer, path(tt.build, ""))
			r.want(t, http.StatusOK, tt.texts...)
			var names []string
			for _, n := range find(r.main(), "span") {
				if attr(n, "class") == "name" {
					names = append(names, words(n))
				}
			}
			if got := strings.Join(names, " "); got != tt.steps {
				t.Errorf("steps of the build: got %q, want %q", got, tt.steps)
			}
		})
	}
}

func TestBuildShowsExtraTags(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	_, _, err := s.Store.Permit(t.Context(), s.Live.ID, 1, nil, []string{"nightly", "edge", "unused"})
	if err != nil {
		t.Fatal(err)
	}
	s.get(t, pagestest.Writer, path(s.Live, "")).want(t, http.StatusOK, "Extra tags", "nightly permitted")
	_, err = s.Store.FinishAttempt(t.Context(), autobuild.Finish{
		BuildID: s.Live.ID, Attempt: 1, State: autobuild.Succeeded,
		ExtraTags: []autobuild.ExtraTag{{Tag: "nightly", Pushed: true}, {Tag: "edge", Problem: "503 <b>"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.get(t, pagestest.Writer, path(s.Live, "")).
		want(t, http.StatusOK, "Extra tags", "nightly edge not pushed: 503 <b>", "unused permitted")
}

// The head refreshes every two seconds without reading the log.
func TestTheHeadComesWithoutTheLog(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	r := httptest.NewRequest(http.MethodGet, path(s.Live, ""), nil)
	r.Header.Set("X-Part", "build-head")
	head := s.do(t, r, s.Cookie(t, pagestest.Reader))
	head.want(t, http.StatusOK, "running")
	if strings.Contains(head.Text, `class="line"`) {
		t.Errorf("text: got %q, want it not to contain %q", head.Text, `class="line"`)
	}
	if !strings.Contains(head.Text, `id="build-head"`) {
		t.Errorf("text: got %q, want it to contain %q", head.Text, `id="build-head"`)
	}
}

func TestViewersSeeNoButtons(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	for _, address := range []string{
		path(s.Live, ""), path(s.Done, ""), "/automated-builds/" + s.App.ID, "/settings/providers",
		"/settings/registries",
	} {
		r := s.get(t, pagestest.Reader, address)
		for _, form := range find(r.main(), "form") {
			if attr(form, "method") == "post" {
				t.Errorf("forms of %s: got %s, want none", address, attr(form, "action"))
			}
		}
	}
}

func TestBuildsAreFilteredAndPaged(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	count := func(r reply) int { return len(find(r.main(), "tr")) - 1 }
	for filter, want := range map[string]int{
		"all": 15, "active": 2, "succeeded": 9, "failed": 2, "error": 1, "cancelled": 1,
	} {
		if got := count(s.get(t, pagestest.Reader, "/builds?state="+filter)); got != want {
			t.Errorf("%s: %d builds, want %d", filter, got, want)
		}
	}
	for i := range 60 {
		b := s.Waiting
		b.CauseKey = fmt.Sprint("more", i)
		if _, _, err := s.Store.CreateBuild(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	first := s.get(t, pagestest.Reader, "/builds")
	var older string
	for _, a := range find(first.main(), "a") {
		if words(a) == "Older builds" {
			older = attr(a, "href")
		}
	}
	if count(first) != 50 {
		t.Fatalf("builds on the page: got %v, want 50", count(first))
	}
	if older == "" {
		t.Fatal("link to older builds: got none, want one")
	}
	if got := count(s.get(t, pagestest.Reader, older)); got != 25 {
		t.Errorf("builds on the second page: got %d, want 25", got)
	}
}

func TestCancelRetryRebuild(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	s.post(t, pagestest.Writer, path(s.Waiting, "/cancel")).wantRedirect(t, path(s.Waiting, "?done=cancelled"))
	r := s.get(t, pagestest.Writer, path(s.Waiting, "?done=cancelled"))
	r.want(t, http.StatusOK, "The build is cancelled.", "cancelled by Bob Moss")
	s.post(t, pagestest.Writer, path(s.Waiting, "/cancel")).wantRedirect(t, path(s.Waiting, "?done=cancelled"))
	s.post(t, pagestest.Writer, path(s.Done, "/cancel")).want(t, http.StatusConflict, "changed in the meantime")
	for range 2 { // a second click is no error
		s.post(t, pagestest.Writer, path(s.Broken, "/retry")).wantRedirect(t, path(s.Broken, "?done=retried"))
	}
	again := s.post(t, pagestest.Writer, path(s.Done, "/rebuild"))
	again.wantRedirect(t, fmt.Sprintf("/builds/%d?done=started", s.Waiting.Number+1))
	b, err := s.Store.BuildByNumber(t.Context(), s.Waiting.Number+1)
	if err != nil {
		t.Fatal(err)
	}
	if b.Commit.Hash != s.Done.Commit.Hash {
		t.Errorf("commit: got %v, want %v", b.Commit.Hash, s.Done.Commit.Hash)
	}
	if b.Cause != autobuild.CauseManual {
		t.Errorf("cause: got %v, want %v", b.Cause, autobuild.CauseManual)
	}
	if b.CausedBy != "Bob Moss" {
		t.Errorf(`person: got %q, want "Bob Moss"`, b.CausedBy)
	}
}

func TestAQueuedBuildShowsWhyItWaits(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	const reason = "2 of 2 places of acme/app are in use: SLIPWAY_CONCURRENCY_PER_BUILD"
	if err := s.Store.ExplainBuild(t.Context(), s.Waiting.ID, autobuild.ReasonCapacity, reason); err != nil {
		t.Fatal(err)
	}
	s.get(t, pagestest.Reader, path(s.Waiting, "")).want(t, http.StatusOK, "Waits: "+reason)
}

func TestAttemptsAreListed(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	if _, err := s.Store.RetryBuild(t.Context(), s.Broken.ID, "alice"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Store.StartAttempt(
		t.Context(),
		s.Broken.ID,
		"embedded",
		"hash",
		s.Clock.Now(),
		autobuild.Limits{},
	); err != nil {
		t.Fatal(err)
	}
	r := s.get(t, pagestest.Reader, path(s.Broken, ""))
	r.want(t, http.StatusOK, "2 attempts", "Log of attempt 2", "No output yet")
	s.get(t, pagestest.Reader, path(s.Broken, "?attempt=1")).want(t, http.StatusOK, "Log of attempt 1", "pushed 3 tags")
}

func TestNoticesAreFixedTexts(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	r := s.get(t, pagestest.Reader, "/builds?done=Send+your+password")
	if strings.Contains(r.Text, "password") {
		t.Error("text of the page: got words of the link, want none")
	}
}

func TestRawLogIsText(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	r := s.get(t, pagestest.Reader, path(s.Done, "/log"))
	if r.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf(`Content-Type: got %q, want "text/plain; charset=utf-8"`, r.Header.Get("Content-Type"))
	}
	if !strings.HasPrefix(r.Text, "fetching acme/app") {
		t.Errorf(`text: got %q, want the prefix "fetching acme/app"`, r.Text)
	}
	if strings.Contains(r.Text, "\x1b") {
		t.Errorf("text: got %q, want no escape sequence", r.Text)
	}
	if rest := s.get(t, pagestest.Reader, path(s.Done, "/log?offset=9&attempt=1")); rest.Text != r.Text[9:] {
		t.Errorf("from offset 9: got Text %v, want %v", rest.Text, r.Text[9:])
	}
	if got, want := r.Header.Get("Content-Disposition"), `inline; filename="build-`; !strings.HasPrefix(got, want) {
		t.Errorf("Content-Disposition: got %q, want %s…", got, want)
	}
	for _, bad := range []string{
		"/log?offset=-1", "/log?offset=x", "/log?attempt=7", "/log?attempt=x", "/log/stream?offset=x",
	} {
		if got := s.get(t, pagestest.Reader, path(s.Done, bad)).StatusCode; got != http.StatusNotFound {
			t.Errorf("%s: got status %d, want 404", bad, got)
		}
	}
	if got := s.get(t, pagestest.Reader, "/builds/x/log").StatusCode; got != http.StatusNotFound {
		t.Errorf("build x: got %v, want %v", got, http.StatusNotFound)
	}
}

// events reads a finished attempt's stream.
func events(t *testing.T, s *env, target, lastID string) (ids, data []string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	lines := bufio.NewScanner(strings.NewReader(s.do(t, r, s.Cookie(t, pagestest.Reader)).Text))
	for lines.Scan() {
		if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			ids = append(ids, id)
		}
		if d, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			data = append(data, d)
		}
	}
	return ids, data
}

func TestStreamContinuesAtTheOffset(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	ids, all := events(t, s, path(s.Done, "/log/stream"), "")
	if len(all) != 25 {
		t.Fatalf("number of rows: got %d, want 25 (%v)", len(all), all)
	}
	if all[24] != "succeeded" {
		t.Fatalf(`last event: got %q, want "succeeded"`, all[24])
	}
	if !strings.Contains(all[0], `id="L1"`) {
		t.Fatalf("first event: got %q, want it to contain %q", all[0], `id="L1"`)
	}
	// The stream from the middle of line 4 has the same line numbers and text.
	offset := strings.Index(s.get(t, pagestest.Reader, path(s.Done, "/log")).Text, "dockerfile: 412B")
	_, rest := events(t, s, path(s.Done, "/log/stream"), fmt.Sprint(offset))
	if diff := cmp.Diff(all[3:], rest); diff != "" {
		t.Error(diff)
	}
	if _, end := events(t, s, path(s.Done, "/log/stream?offset=0"), ids[0]); len(end) != 1 {
		t.Fatalf("number of elements: got %d, want 1 (%v)", len(end), end)
	} else if end[0] != "succeeded" {
		t.Errorf(`last event: got %q, want "succeeded"`, end[0])
	}
}

func TestLongLogsShowTheirEnd(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	for _, end := range []string{"", "\nlast"} {
		b := s.Waiting
		b.CauseKey = "long" + end
		b, _, err := s.Store.CreateBuild(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Store.StartAttempt(
			t.Context(),
			b.ID,
			"embedded",
			"h"+b.ID,
			s.Clock.Now(),
			autobuild.Limits{},
		); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Logs.Append(t.Context(), b.ID, 1, 0, []byte(strings.Repeat("x\n", 20_000)+end)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Store.FinishAttempt(
			t.Context(),
			autobuild.Finish{BuildID: b.ID, Attempt: 1, State: autobuild.Succeeded},
		); err != nil {
			t.Fatal(err)
		}
		r := s.get(t, pagestest.Reader, path(b, ""))
		r.want(t, http.StatusOK, "lines are in the raw log")
		if n := strings.Count(r.Text, `class="line"`); n != 4000 {
			t.Errorf("lines on the page: got %d, want 4000", n)
		}
		if !strings.Contains(r.Text, `id="L20000"`) {
			t.Errorf("text: got %q, want it to contain %q", r.Text, `id="L20000"`)
		}
		if strings.Contains(r.Text, `id="L100"`) {
			t.Errorf("text: got %q, want it not to contain %q", r.Text, `id="L100"`)
		}
	}
}

// A list without active builds also refreshes, because a push can arrive at any time.
func TestListsAreRefreshed(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	for address, seconds := range map[string]string{
		"/builds": "3", "/builds?state=succeeded": "5", "/automated-builds?state=failed": "5",
		"/automated-builds/" + s.App.ID: "3",
	} {
		var got []string
		for _, part := range find(s.get(t, pagestest.Reader, address).main(), "div") {
			if every := attr(part, "data-refresh"); every != "" {
				got = append(got, every)
			}
		}
		if len(got) != 1 {
			t.Fatalf("number of values: got %d, want 1 (%v)", len(got), got)
		}
		if got[0] != seconds {
			t.Errorf("seconds: got %v, want %v", got[0], seconds)
		}
	}
}

// A build's head refreshes until its final commit status is posted, a moment after the end.
func TestTheHeadIsRefreshedUntilTheStatusIsPosted(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	renewed := func(b autobuild.Build) string {
		return attr(byID(s.get(t, pagestest.Reader, path(b, "")).main(), "build-head"), "data-refresh")
	}
	if got := renewed(s.Live); got != "2" {
		t.Errorf("running: got refresh %q, want 2", got)
	}
	ended, err := s.Store.FinishAttempt(
		t.Context(),
		autobuild.Finish{BuildID: s.Live.ID, Attempt: 1, State: autobuild.Succeeded},
	)
	if err != nil {
		t.Fatal(err)
	}
	if got := renewed(ended); got != "2" {
		t.Errorf("ended and not reported: got refresh %q, want 2", got)
	}
	s.Clock.Pass(time.Hour)
	if got := renewed(ended); got != "" {
		t.Errorf("not reported for an hour: got refresh %q, want none", got)
	}
	s.Clock.Pass(-time.Hour)
	if err := s.Store.MarkReported(t.Context(), ended.ID, 1, autobuild.Succeeded, ""); err != nil {
		t.Fatal(err)
	}
	if got := renewed(ended); got != "" {
		t.Errorf("reported: got refresh %q, want none", got)
	}
	if got := renewed(s.Done); got != "" {
		t.Errorf("ended long ago: got refresh %q, want none", got)
	}
}

// The script detects by it that the log belongs to an older attempt.
func TestHeadAndLogNameTheirAttempt(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	for address, want := range map[string]string{path(s.Live, ""): "1", path(s.Waiting, ""): "0"} {
		page := s.get(t, pagestest.Reader, address).main()
		for _, id := range []string{"build-head", "log"} {
			if got := attr(byID(page, id), "data-attempt"); got != want {
				t.Errorf("%s: %s names attempt %q, want %s", address, id, got, want)
			}
		}
	}
}
