package pages_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/web/pages"
	"slipway/plugin/web/pages/pagestest"
)

// polls are the next poll of every repository.
type polls struct {
	in, every time.Duration
	now       func() time.Time
}

func (p polls) NextPoll(string) (time.Time, time.Duration) { return p.now().Add(p.in), p.every }

// A page shows the real interval of polls, which is longer than the setting if there are many repositories.
func TestAutomatedBuildShowsItsPolls(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	const orLess = "every 5 min, or less often"
	for name, row := range map[string]struct {
		polls pages.Polls
		want  []string
	}{
		"unknown":    {nil, []string{"polled every 5 min ·", orLess}},
		"configured": {polls{3 * time.Minute, 5 * time.Minute, s.Pages.Now}, []string{"polled every 5 min ·", "next poll in 3 min"}},
		"longer": {
			polls{14 * time.Minute, 21 * time.Minute, s.Pages.Now},
			[]string{"polled every 21 min ·", "next poll in 14 min", "by polling every 21 min. The setting is 5 min: "},
		},
		"waiting": {polls{-time.Minute, 5 * time.Minute, s.Pages.Now}, []string{"next poll soon"}},
	} {
		t.Run(name, func(t *testing.T) {
			s.Pages.Polls = row.polls
			r := s.get(t, autobuild.RoleAdmin, "/automated-builds/"+s.Worker.ID)
			r.want(t, http.StatusOK, row.want...)
			if got, want := strings.Contains(words(r.main()), orLess), row.polls == nil; got != want {
				t.Errorf("words %q on the page: got %t, want %t", orLess, got, want)
			}
		})
	}
}
