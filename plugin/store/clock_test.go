package store

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// F10: steps of the machine's clock change the time of the rows slowly, and only steps of more than a day at
// once. Each step is reported once. Suspended time counts.
func TestF10StepsOfTheClockAreFollowedSlowly(t *testing.T) {
	start := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	var skew, elapsed time.Duration
	var reported []time.Duration
	c := &steadyClock{
		wall:    func() time.Time { return start.Add(elapsed + skew) },
		elapsed: func() time.Duration { return elapsed },
		stepped: func(by time.Duration) { reported = append(reported, by) },
	}
	c.now()
	for _, tt := range []struct {
		passed, skew time.Duration // since the last step, and the clock's error
		want         time.Duration // time of the rows since the start
	}{
		{time.Minute, 0, time.Minute},
		{0, -10 * time.Minute, time.Minute},
		{10 * time.Minute, -10 * time.Minute, 10 * time.Minute},   // a tenth slower
		{100 * time.Minute, -10 * time.Minute, 101 * time.Minute}, // it has agreed before
		{0, 10 * time.Minute, 101 * time.Minute},
		{10 * time.Minute, 10 * time.Minute, 112 * time.Minute},            // a tenth faster
		{10 * time.Hour, 10 * time.Minute, 10*time.Hour + 131*time.Minute}, // suspended, and it agrees
		{0, 48 * time.Hour, 58*time.Hour + 121*time.Minute},                // more than a day: at once
		{0, 0, 10*time.Hour + 121*time.Minute},                             // back, too: at once
	} {
		elapsed += tt.passed
		skew = tt.skew
		if got := c.now().Sub(start); got != tt.want {
			t.Errorf("%s after %s with an error of %s: got %s since the start, want %s",
				tt.passed, elapsed, tt.skew, got, tt.want)
		}
	}
	want := []time.Duration{-10 * time.Minute, 20 * time.Minute, 47*time.Hour + 50*time.Minute, -48 * time.Hour}
	if diff := cmp.Diff(want, reported); diff != "" {
		t.Errorf("reported steps (-want +got):\n%s", diff)
	}
}

// F10: the columns store a time without its zone, so that daylight saving time changes no order.
func TestF10DaylightSavingTimeChangesNoOrder(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("SKIPPED: time zones, which are absent (Debian: apt-get install tzdata)")
	}
	summer := time.Date(2026, 10, 25, 0, 30, 0, 0, time.UTC).In(berlin) // 02:30, which occurs twice
	winter := summer.Add(45 * time.Minute)                              // an earlier time on a clock on the wall: 02:15
	if winter.Hour() != 2 || winter.Minute() != 15 {
		t.Fatalf("45 minutes after 02:30 of the change: got %s, want 02:15", winter)
	}
	if ms(winter)-ms(summer) != (45 * time.Minute).Milliseconds() {
		t.Errorf("stored times: got %d ms between them, want 45 minutes", ms(winter)-ms(summer))
	}
	var read time.Time
	if err := at(&read).Scan(ms(winter)); err != nil {
		t.Fatal(err)
	}
	if !read.Equal(winter) {
		t.Errorf("time that is read: got %s, want %s", read, winter)
	}
}
