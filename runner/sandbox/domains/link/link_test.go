package link_test

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/runner/sandbox/domains/link"
)

func TestMessagesArriveInBothDirections(t *testing.T) {
	supervisor, file, err := link.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer supervisor.Close()
	builder, err := net.FileConn(file)
	if err != nil {
		t.Fatal(err)
	}
	_ = file.Close()

	requests := make(chan any, 2)
	go link.Requests{
		Stop:     func() { requests <- "stop" },
		Parallel: func(n int) { requests <- n },
	}.Receive(builder)
	if err := link.SendParallel(supervisor, 3); err != nil {
		t.Fatal(err)
	}
	if err := link.SendStop(supervisor); err != nil {
		t.Fatal(err)
	}
	if got := <-requests; got != 3 {
		t.Errorf("first request: got %v, want 3", got)
	}
	if got := <-requests; got != "stop" {
		t.Errorf("second request: got %v, want stop", got)
	}

	reporter, done := link.NewReporter(), make(chan struct{})
	defer close(done)
	go reporter.Run(done, builder)
	reports := make(chan any)
	go link.Reports{
		Busy:    func(busy bool) { reports <- busy },
		Refused: func() { reports <- "refused" },
		Size:    func(n int64) { reports <- n },
		Image:   func(name string) { reports <- name },
	}.Receive(supervisor)
	for _, c := range []struct {
		send func()
		want any
	}{
		{func() { reporter.Busy(true) }, true},
		{reporter.Refused, "refused"},
		{func() { reporter.Size(20e9) }, int64(20e9)},
		{func() { reporter.Image("example.com/a@sha256:b") }, "example.com/a@sha256:b"},
		{func() { reporter.Image(strings.Repeat("a", 2000)); reporter.Busy(false) }, false},
	} {
		c.send()
		if got := <-reports; got != c.want {
			t.Errorf("report: got %v, want %v", got, c.want)
		}
	}
}

// A builder that is used and idle again before the supervisor reads is idle.
func TestReporterSendsTheLatestLoad(t *testing.T) {
	reporter, done := link.NewReporter(), make(chan struct{})
	for _, busy := range []bool{true, false, true, false} {
		reporter.Busy(busy)
	}
	reporter.Size(1)
	reporter.Size(2)
	read, write := io.Pipe()
	go reporter.Run(done, write)
	got := map[any]int{}
	link.Reports{
		Busy: func(busy bool) { got[busy]++ },
		Size: func(n int64) { got[n]++ },
	}.Receive(io.LimitReader(read, int64(len("idle \nsize 2\n"))))
	close(done)
	if diff := cmp.Diff(map[any]int{false: 1, int64(2): 1}, got); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
}

func TestReceiveIgnoresWhatIsNoMessage(t *testing.T) {
	stops := 0
	text := "\nhalt\nparallel x\nparallel\nother 1\nstop \n"
	link.Requests{
		Stop:     func() { stops++ },
		Parallel: func(n int) { t.Errorf("got %d steps, want no message", n) },
	}.Receive(strings.NewReader(text))
	if stops != 1 {
		t.Errorf("got %d stops, want 1", stops)
	}
	text = "size x\nsize -1\nsize\n"
	link.Reports{
		Size: func(n int64) { t.Errorf("got size %d, want no message", n) },
	}.Receive(strings.NewReader(text))
}

// A line that is too long must not end the link: the supervisor would remove the network of a running builder.
func TestALineThatIsTooLongIsSkipped(t *testing.T) {
	long := "image " + strings.Repeat("a", 1<<20) + "\n"
	var got []any
	link.Reports{
		Busy:  func(busy bool) { got = append(got, busy) },
		Image: func(name string) { got = append(got, name) },
	}.Receive(strings.NewReader("busy \n" + long + "image a\n" + long + long + "idle \nunfinished"))
	if diff := cmp.Diff([]any{true, "a", false}, got); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
}
