package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"golang.org/x/sync/semaphore"

	"slipway/config/must"
)

// startResolver starts a resolver on the loopback address, and returns its address.
func startResolver(t *testing.T, handler dns.HandlerFunc) string {
	t.Helper()
	packets := must.Get[net.PacketConn](t)(net.ListenPacket("udp", "127.0.0.1:0"))
	listener := must.Get[net.Listener](t)(net.Listen("tcp", packets.LocalAddr().String()))
	for _, server := range []*dns.Server{{PacketConn: packets, Handler: handler}, {Listener: listener, Handler: handler}} {
		go func() { _ = server.ActivateAndServe() }()
		t.Cleanup(func() { closeDNS(server) })
	}
	return packets.LocalAddr().String()
}

// answerWith answers each query for addresses with the records.
func answerWith(t *testing.T, records ...string) dns.HandlerFunc {
	return func(w dns.ResponseWriter, query *dns.Msg) {
		answer := new(dns.Msg).SetReply(query)
		for _, text := range records {
			record, err := dns.NewRR(text)
			if err != nil {
				t.Errorf("record %q: %v", text, err)
				return
			}
			answer.Answer = append(answer.Answer, record)
		}
		_ = w.WriteMsg(answer)
	}
}

func newForwarder(ctx context.Context, resolvers ...string) *forwarder {
	return &forwarder{
		lookup:    func(string) []netip.Addr { return nil },
		resolvers: func() ([]string, error) { return resolvers, nil },
		queries:   semaphore.NewWeighted(maxQueries),
		ctx:       ctx,
	}
}

func queryFor(name string) *dns.Msg { return new(dns.Msg).SetQuestion(name, dns.TypeA) }

func TestForwarderAsksTheNextResolver(t *testing.T) {
	working := startResolver(t, answerWith(t, "a.test. A 192.0.2.1"))
	closed := must.Get[net.PacketConn](t)(net.ListenPacket("udp", "127.0.0.1:0"))
	absent := closed.LocalAddr().String()
	closed.Close()
	answer := newForwarder(t.Context(), absent, working).answer(queryFor("a.test."), "udp")
	if diff := cmp.Diff([]string{"192.0.2.1"}, addressesOf(answer)); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
}

func TestForwarderReportsFailures(t *testing.T) {
	other := startResolver(t, func(w dns.ResponseWriter, query *dns.Msg) {
		answer := new(dns.Msg).SetReply(query)
		answer.Question[0].Name = "other.test."
		_ = w.WriteMsg(answer)
	})
	update := new(dns.Msg).SetUpdate("a.test.")
	two := queryFor("a.test.")
	two.Question = append(two.Question, two.Question[0])
	transfer := new(dns.Msg).SetAxfr("a.test.")
	working := newForwarder(t.Context(), startResolver(t, answerWith(t)))
	broken := newForwarder(t.Context())
	broken.resolvers = func() ([]string, error) { return nil, errors.New("no file") }
	for _, test := range []struct {
		name      string
		forwarder *forwarder
		query     *dns.Msg
		want      int
	}{
		{"an answer to another query", newForwarder(t.Context(), other), queryFor("a.test."), dns.RcodeServerFailure},
		{"no resolv.conf", broken, queryFor("a.test."), dns.RcodeServerFailure},
		{"an update", working, update, dns.RcodeNotImplemented},
		{"two questions", working, two, dns.RcodeNotImplemented},
		{"a zone transfer", working, transfer, dns.RcodeRefused},
		{"an ordinary query", working, queryFor("a.test."), dns.RcodeSuccess},
	} {
		answer := test.forwarder.answer(test.query, "udp")
		if answer.Rcode != test.want {
			t.Errorf("%s: got %s, want %s", test.name, dns.RcodeToString[answer.Rcode], dns.RcodeToString[test.want])
		}
		if answer.Id != test.query.Id {
			t.Errorf("%s: got ID %d, want that of the query, %d", test.name, answer.Id, test.query.Id)
		}
	}
}

// A build cannot use up the resolvers. Queries beyond the limit fail at once. Waiting queries end with the
// router.
func TestForwarderLimitsQueries(t *testing.T) {
	arrived := make(chan struct{})
	silent := startResolver(t, func(dns.ResponseWriter, *dns.Msg) { arrived <- struct{}{} })
	ctx, cancel := context.WithCancel(t.Context())
	f := newForwarder(ctx, silent)
	answers := make(chan int, maxQueries)
	for range maxQueries {
		go func() { answers <- f.answer(queryFor("a.test."), "udp").Rcode }()
	}
	for range maxQueries {
		<-arrived
	}
	if got := f.answer(queryFor("a.test."), "udp").Rcode; got != dns.RcodeServerFailure {
		t.Errorf("beyond the limit: got %s, want SERVFAIL", dns.RcodeToString[got])
	}
	cancel()
	for range maxQueries {
		if got := <-answers; got != dns.RcodeServerFailure {
			t.Errorf("after the end: got %s, want SERVFAIL", dns.RcodeToString[got])
		}
	}
}

func TestResolversAreReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	for text, want := range map[string][]string{
		"nameserver 192.0.2.53\nnameserver 2001:db8::53\n": {"192.0.2.53:53", "[2001:db8::53]:53"},
		"nameserver fe80::1%eth0\n":                        {"[fe80::1%eth0]:53"},
		"search example.com\n":                             {"127.0.0.1:53"},
	} {
		must.Succeed(t, os.WriteFile(path, []byte(text), 0o600))
		got, err := readResolvers(path)
		must.Succeed(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
	if _, err := readResolvers(path + ".absent"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: got %v, want ErrNotExist", err)
	}
}

// An answer that is too long for UDP has the flag TC, and the client sends the query again over TCP.
func TestLongAnswersComeOverTCP(t *testing.T) {
	w := newWorld(t)
	hook := join(t, newRouter(t, w.options()), "hook")
	short, err := resolve(hook, "udp", "long.test.", dns.TypeA)
	must.Succeed(t, err)
	if !short.Truncated {
		t.Error("UDP: got a complete answer, want it truncated")
	}
	long, err := resolve(hook, "tcp", "long.test.", dns.TypeA)
	must.Succeed(t, err)
	if got, want := len(long.Answer), 100; got != want {
		t.Errorf("TCP: got %d records, want %d", got, want)
	}
}

// The host's resolvers may change while a router runs.
func TestRouterFollowsTheHostsResolvers(t *testing.T) {
	w := newWorld(t)
	hook := join(t, newRouter(t, w.options()), "hook")
	must.Succeed(t, os.WriteFile(w.resolvConf, []byte("nameserver 127.0.0.1\n"), 0o600))
	answer, err := resolve(hook, "udp", "public.test.", dns.TypeA)
	must.Succeed(t, err)
	if answer.Rcode != dns.RcodeServerFailure {
		t.Errorf("no resolver there: got %s, want SERVFAIL", dns.RcodeToString[answer.Rcode])
	}
	must.Succeed(t, os.WriteFile(w.resolvConf, []byte(fmt.Sprintf("nameserver %s\n", resolverAddress)), 0o600))
	answer, err = resolve(hook, "udp", "public.test.", dns.TypeA)
	must.Succeed(t, err)
	if diff := cmp.Diff([]string{public4}, addressesOf(answer)); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
}

// A namespace without a name is not found, also by a query for the root domain, whose name is empty.
func TestANamespaceWithoutANameIsNotResolved(t *testing.T) {
	r := &Router{members: map[*Namespace]struct{}{}, versions: []family{ipv4}}
	for _, n := range []*Namespace{{router: r}, {router: r, name: "db"}} {
		must.Succeed(t, r.admit(n))
	}
	if got := r.lookup("db"); len(got) != 1 {
		t.Errorf("addresses of db: got %v, want one", got)
	}
	if got := r.lookup(""); got != nil {
		t.Errorf("addresses of an empty name: got %v, want none", got)
	}
}
