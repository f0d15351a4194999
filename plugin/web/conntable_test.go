package web

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"slipway/config/must"
)

// tableEnv is a table of connections with names, and a clock.
type tableEnv struct {
	*connTable
	at     time.Time
	names  map[string]*limitedConn
	closed []string // in order
}

func newTableEnv(limits connLimits) *tableEnv {
	e := &tableEnv{at: time.Unix(0, 0), names: map[string]*limitedConn{}}
	e.connTable = newConnTable(limits, func() time.Time { return e.at })
	return e
}

type namedConn struct {
	net.Conn
	close func()
}

func (c namedConn) Close() error {
	c.close()
	return nil
}

// do applies steps, one second after another: "A1 idle" is a new connection 1 of client A, and its phase.
// A client P is a proxy.
func (e *tableEnv) do(steps string) {
	for step := range strings.SplitSeq(steps, ", ") {
		e.at = e.at.Add(time.Second)
		name, phase, _ := strings.Cut(step, " ")
		c := e.names[name]
		if c == nil {
			c = &limitedConn{table: e.connTable}
			c.Conn = namedConn{close: func() { e.closed = append(e.closed, name) }}
			e.names[name] = c
			address := netip.AddrFrom4([4]byte{10, 0, 0, name[0]})
			if !e.admit(c, address, name[0] == 'P') {
				e.closed = append(e.closed, name)
			}
		}
		phases := map[string]connPhase{
			"idle":   phaseIdle,
			"header": phaseHeader,
			"body":   phaseBody,
			"write":  phaseWrite,
			"served": phaseServed,
		}
		e.move(c, phases[phase])
	}
}

// ST6: who loses its place for a new connection.
func TestPlacesOfConnections(t *testing.T) {
	small := connLimits{total: 4, waiting: 3, each: 3}
	for _, c := range []struct {
		name   string
		limits connLimits
		steps  string
		want   string // closed connections, in order
	}{
		{"within the limits", small, "A1 idle, A2 idle, B1 served, B2 body", ""},
		{"the longest idle one", small, "A1 served, A2 idle, B1 idle, B2 served, C1 body", "A2"},
		{"the client with the most", small, "B1 idle, A1 idle, A2 idle, C1 served, C2 served", "A1"},
		{"idle ones of a client first", small, "A1 header, A2 idle, B1 served, B2 served, C1 body", "A2"},
		{"then incomplete headers", small, "A1 header, A2 header, B1 served, B2 served, C1 body", "A1"},
		{"a reserve for bodies", small, "A1 idle, B1 idle, C1 idle, D1 body", "A1"},
		{"then bodies", small, "A1 body, A2 body, B1 body, B2 served, C1 idle", "A1"},
		{"no request that is served", small, "A1 served, A2 served, B1 served, B2 served, C1 idle", "C1"},
		{"then responses that nobody reads", small, "A1 write, A2 write, B1 write, B2 served, C1 idle", "A1"},
		{"a response is last", small, "A1 write, A2 write, B1 body, B2 served, C1 idle", "B1"},
		{"a proxy's responses stay", small, "P1 write, P2 write, P3 write, P4 write, C1 idle", "C1"},
		{"a share: the own idle one", small, "B1 idle, A1 served, A2 idle, A3 served, A4 served", "A2"},
		{"a full share", small, "A1 served, A2 served, A3 served, A4 served", "A4"},
		{"a proxy has no share", small, "P1 served, P2 served, P3 served, P4 served", ""},
		{"a proxy is the last", small, "P1 idle, P2 idle, A1 idle, A2 served, B1 body", "A1"},
		{"a proxy loses idle ones", small, "P1 header, P2 idle, P3 body, A2 served, B1 body", "P2"},
		{"a proxy loses no request", small, "P1 header, P2 header, P3 body, P4 body, B1 body", "B1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newTableEnv(c.limits)
			e.do(c.steps)
			if got := strings.Join(e.closed, " "); got != c.want {
				t.Errorf("closed connections of %q: got %q, want %q", c.steps, got, c.want)
			}
		})
	}
}

// A client loses no connection to one that has more, until slowTime.
func TestAConnectionKeepsItsPlaceForAWhile(t *testing.T) {
	for _, c := range []struct {
		steps string // all places are used then
		later time.Duration
		next  string
		want  string // closed connections
	}{
		{"B1 served, A1 body", slowTime - 1, "B2", "B2"},
		{"B1 served, A1 body", slowTime, "B2", "A1"},
		{"A1 body, A2 body", slowTime - 1, "B1", "A1"},
		{"A1 write, A2 write", slowTime - 2*time.Second, "B1", "B1"},
		{"B1 served, B2 served, A1 idle", slowTime - 1, "B3", "B3"},
		{"B1 served, B2 served, A1 idle", slowTime, "B3", "A1"},
		{"A1 served, A2 idle, B1 idle", slowTime - 1, "B2", "A2"},
	} {
		places := strings.Count(c.steps, ",") + 1
		e := newTableEnv(connLimits{total: places, waiting: places, each: places})
		e.do(c.steps)
		e.at = e.at.Add(c.later - time.Second) // do adds a second
		e.do(c.next + " idle")
		if got := strings.Join(e.closed, " "); got != c.want {
			t.Errorf(
				"closed connections of %q, then %s after %s: got %q, want %q",
				c.steps,
				c.next,
				c.later,
				got,
				c.want,
			)
		}
	}
}

// A client that reads a response a little at a time keeps its place only until another client needs it. A fast one
// keeps it.
func TestAClientThatReadsSlowlyLosesItsPlace(t *testing.T) {
	for _, c := range []struct {
		name  string
		write time.Duration // of each part of the response
		want  string        // closed connections
	}{
		{"slow", slowWrite, "A1"},
		{"fast", slowWrite - 1, "B1"},
	} {
		e := newTableEnv(connLimits{total: 2, waiting: 2, each: 2})
		e.do("A1 served, A2 served")
		slow := e.names["A1"]
		slow.Conn = slowConn{slow.Conn, func() { e.at = e.at.Add(c.write) }}
		for range 20 {
			_ = must.Get[int](t)(slow.Write(make([]byte, 100)))
		}
		e.do("B1 idle")
		if got := strings.Join(e.closed, " "); got != c.want {
			t.Errorf("a %s client: got closed connections %q, want %q", c.name, got, c.want)
		}
	}
}

// A slowConn takes its time for each Write.
type slowConn struct {
	net.Conn
	wait func()
}

func (c slowConn) Write(p []byte) (int, error) {
	c.wait()
	return len(p), nil
}

// The table is empty after all connections have closed, in any order.
func TestTheTableForgetsClosedConnections(t *testing.T) {
	e := newTableEnv(connLimits{total: 100, waiting: 100, each: 100})
	for i := range 20 {
		e.do(fmt.Sprintf("%c%d %s", 'A'+i%3, i, []string{"idle", "header", "body", "served"}[i%4]))
	}
	for _, c := range e.names {
		_ = c.Close() // a namedConn returns nil
		_ = c.Close()
	}
	if e.open != 0 {
		t.Errorf("open connections: got %d, want 0", e.open)
	}
	if e.waiting != 0 {
		t.Errorf("waiting connections: got %d, want 0", e.waiting)
	}
	if n := len(e.clients) + e.byWait.Len() + e.byBody.Len() + e.byWrite.Len(); n != 0 {
		t.Errorf("clients: got %d, want 0", n)
	}
}

// A server reports the phases of its connections.
func TestAServerReportsPhases(t *testing.T) {
	l := Limited(listen(t), nil).(*limitedListener)
	phaseOf := func() (phase connPhase, known bool) {
		l.table.mu.Lock()
		defer l.table.mu.Unlock()
		for _, client := range l.table.clients {
			for phase := range client.conns {
				if client.conns[phase].Len() > 0 {
					return connPhase(phase), true
				}
			}
		}
		return 0, false
	}
	proceed := make(chan struct{})
	s := Server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-proceed
	}))
	c := dial(t, serveOn(t, s, l))
	for _, step := range []struct {
		send string
		want connPhase
	}{
		{"", phaseIdle},
		{"POST / HT", phaseHeader},
		{"TP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na", phaseBody},
		{"b", phaseServed},
	} {
		if _, err := io.WriteString(c, step.send); err != nil {
			t.Fatal(err)
		}
		must.Eventually(t, fmt.Sprintf("the phase is %d after %q", step.want, step.send), func() bool {
			phase, known := phaseOf()
			return known && phase == step.want
		})
	}
	close(proceed)
	must.Eventually(t, "the connection is idle", func() bool {
		phase, known := phaseOf()
		return known && phase == phaseIdle
	})
	c.Close()
	must.Eventually(t, "the connection is gone", func() bool {
		_, known := phaseOf()
		return !known
	})
}
