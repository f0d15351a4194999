package domains

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPlanDrops(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	ago := func(minutes int) time.Time { return now.Add(-time.Duration(minutes) * time.Minute) }
	const gb = 1e9
	all := []cacheState{
		{name: "newest", bytes: 4 * gb, used: ago(5)},
		{name: "oldest", bytes: 4 * gb, used: ago(50)},
		{name: "middle", bytes: 4 * gb, used: ago(20)},
	}
	oldestBusy := []cacheState{all[0], {name: "oldest", bytes: 4 * gb, used: ago(50), busy: true}, all[2]}
	allNew := []cacheState{
		{name: "a", bytes: 9 * gb, used: now.Add(-time.Second)},
		{name: "b", bytes: 9 * gb, used: now},
	}
	for name, c := range map[string]struct {
		states []cacheState
		space  space
		want   []string
	}{
		"enough":                     {all, space{limit: 12 * gb, free: 9 * gb, floor: gb}, nil},
		"over the limit":             {all, space{limit: 10 * gb, free: 9 * gb, floor: gb}, []string{"oldest"}},
		"far over the limit":         {all, space{limit: 5 * gb, free: 9 * gb, floor: gb}, []string{"oldest", "middle"}},
		"the newest stays":           {all, space{limit: gb, free: 9 * gb, floor: gb}, []string{"oldest", "middle"}},
		"full disk":                  {all, space{limit: 12 * gb, free: 0, floor: gb}, []string{"oldest"}},
		"full disk, not by caches":   {all, space{limit: 12 * gb, free: 0, floor: 90 * gb}, nil},
		"just enough":                {all, space{limit: 12 * gb, free: 0, floor: 8 * gb}, []string{"oldest", "middle"}},
		"not by caches, and a limit": {all, space{limit: 10 * gb, free: 0, floor: 90 * gb}, []string{"oldest"}},
		"a busy one stays":           {oldestBusy, space{limit: 10 * gb, free: 9 * gb, floor: gb}, []string{"middle"}},
		"just requested ones stay":   {allNew, space{limit: gb, free: 0, floor: gb}, nil},
		"one":                        {all[:1], space{limit: gb, free: 0, floor: gb}, nil},
		"none":                       {nil, space{limit: gb, free: 0, floor: gb}, nil},
		"limit and floor, limit 1st": {all, space{limit: 9 * gb, free: 0, floor: 6 * gb}, []string{"oldest", "middle"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, d := range planDrops(c.states, c.space, now) {
				got = append(got, d.name)
				if d.reason == "" {
					t.Errorf("reason for %s: got none, want one", d.name)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("dropped states (-want +got):\n%s", diff)
			}
		})
	}
}

func TestChooseVictim(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	old, older := now.Add(-time.Minute), now.Add(-time.Hour)
	for name, c := range map[string]struct {
		loads []load
		want  string
	}{
		"none":             {nil, ""},
		"all busy":         {[]load{{domain: "a", busy: true, idleSince: older}}, ""},
		"oldest":           {[]load{{domain: "a", idleSince: old}, {domain: "b", idleSince: older}}, "b"},
		"refused just now": {[]load{{domain: "a", idleSince: old}, {domain: "b", idleSince: older, refusedAt: now}}, "a"},
		"refused long ago": {[]load{{domain: "a", idleSince: old}, {domain: "b", idleSince: older, refusedAt: old}}, "b"},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := chooseVictim(c.loads, now)
			if got.domain != c.want {
				t.Errorf("got %q, want %q", got.domain, c.want)
			}
			if want := c.want != ""; ok != want {
				t.Errorf("ok: got %t, want %t", ok, want)
			}
		})
	}
}

func TestShareSteps(t *testing.T) {
	for name, c := range map[string]struct {
		total, busy int
		isBusy      bool
		want        int
	}{
		"alone":                      {8, 1, true, 8},
		"two":                        {8, 2, true, 4},
		"odd":                        {8, 3, true, 2},
		"more builders than steps":   {4, 9, true, 1},
		"idle while none is busy":    {8, 0, false, 8},
		"idle while another is busy": {8, 1, false, 4},
	} {
		t.Run(name, func(t *testing.T) {
			if got := shareSteps(c.total, c.busy, c.isBusy); got != c.want {
				t.Errorf("got %d steps, want %d", got, c.want)
			}
		})
	}
}
