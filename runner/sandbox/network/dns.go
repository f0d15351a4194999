package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/netutil"
	"golang.org/x/sync/semaphore"

	"slipway/runner/sandbox/netns"
)

const (
	dnsPort = 53
	// maxQueries bounds the queries of a router that wait for an answer. Further queries get the answer
	// SERVFAIL.
	maxQueries = 64
	// maxDNSClients bounds the TCP connections to a forwarder. Others wait.
	maxDNSClients = 32
	// queryTimeout bounds a query with all its resolvers. Programs give up after 5 seconds.
	queryTimeout = 5 * time.Second
	// resolverTimeout bounds the wait for one resolver, if there is another one.
	resolverTimeout = 2 * time.Second
	// dnsIdle is the time after which a silent TCP connection is closed.
	dnsIdle = 10 * time.Second
	// dnsBuffer is the largest query over UDP, in bytes.
	dnsBuffer = 4096
	// memberTTL is the time in seconds for which programs keep the address of a namespace.
	memberTTL = 5
)

// A forwarder answers DNS queries of a router's namespaces. It answers names of namespaces itself, and
// sends other queries to the host's resolvers. It runs outside the router, because several clouds have
// resolvers at addresses that the filter refuses.
type forwarder struct {
	lookup    func(name string) []netip.Addr
	resolvers func() ([]string, error)
	queries   *semaphore.Weighted
	ctx       context.Context // dns.Handler passes none
}

// serveDNS starts the forwarder at the router's addresses. It ends with ctx.
func (r *Router) serveDNS(ctx context.Context) error {
	f := &forwarder{
		lookup:    r.lookup,
		resolvers: func() ([]string, error) { return readResolvers(r.options.ResolvConf) },
		queries:   semaphore.NewWeighted(maxQueries),
		ctx:       ctx,
	}
	servers, err := r.listenDNS(ctx)
	if err != nil {
		return fmt.Errorf("listen for DNS queries: %w", err)
	}
	for _, server := range servers {
		server.Handler = f
		r.work.Go(func() { _ = server.ActivateAndServe() }) // it returns an error when its socket is closed
		r.work.Go(func() {
			<-ctx.Done()
			closeDNS(server)
		})
	}
	return nil
}

// closeDNS closes the server's socket, also if the server has not started yet, and its connections.
func closeDNS(server *dns.Server) {
	if server.Listener != nil {
		server.Listener.Close()
	}
	if server.PacketConn != nil {
		_ = server.PacketConn.Close()
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_ = server.ShutdownContext(ended) // it does not wait for the connections to end
}

// listenDNS returns a server for UDP and one for TCP on each of the router's addresses.
func (r *Router) listenDNS(ctx context.Context) (servers []*dns.Server, err error) {
	err = netns.Do(r.file, func() error {
		var config net.ListenConfig
		for _, version := range r.versions {
			address := netip.AddrPortFrom(gateway(version), dnsPort).String()
			packets, err := config.ListenPacket(ctx, "udp", address)
			if err != nil {
				return err
			}
			servers = append(servers, &dns.Server{PacketConn: packets, UDPSize: dnsBuffer})
			listener, err := config.Listen(ctx, "tcp", address)
			if err != nil {
				return err
			}
			servers = append(servers, &dns.Server{
				Listener:    netutil.LimitListener(listener, maxDNSClients),
				ReadTimeout: dnsIdle,
				IdleTimeout: func() time.Duration { return dnsIdle },
			})
		}
		return nil
	})
	if err != nil {
		for _, server := range servers {
			closeDNS(server)
		}
		return nil, err
	}
	return servers, nil
}

// ServeDNS answers one query.
func (f *forwarder) ServeDNS(w dns.ResponseWriter, query *dns.Msg) {
	answer := f.answer(query, w.LocalAddr().Network())
	if w.LocalAddr().Network() == "udp" {
		answer.Truncate(udpSize(query))
	}
	_ = w.WriteMsg(answer) // the client may have gone
}

// udpSize returns the size of the largest answer over UDP that the client accepts.
func udpSize(query *dns.Msg) int {
	if options := query.IsEdns0(); options != nil {
		return max(int(options.UDPSize()), dns.MinMsgSize)
	}
	return dns.MinMsgSize
}

// answer returns the answer to a query. network is that of the client: udp or tcp.
func (f *forwarder) answer(query *dns.Msg, network string) *dns.Msg {
	if query.Opcode != dns.OpcodeQuery || len(query.Question) != 1 {
		return new(dns.Msg).SetRcode(query, dns.RcodeNotImplemented)
	}
	question := query.Question[0]
	if question.Qtype == dns.TypeAXFR || question.Qtype == dns.TypeIXFR {
		return new(dns.Msg).SetRcode(query, dns.RcodeRefused)
	}
	if addresses := f.lookup(strings.ToLower(strings.TrimSuffix(question.Name, "."))); addresses != nil {
		return answerMember(query, addresses)
	}
	if !f.queries.TryAcquire(1) {
		return new(dns.Msg).SetRcode(query, dns.RcodeServerFailure)
	}
	defer f.queries.Release(1)
	answer, err := f.forward(query, network)
	if err != nil {
		return new(dns.Msg).SetRcode(query, dns.RcodeServerFailure)
	}
	return answer
}

// answerMember answers with the addresses of a namespace.
func answerMember(query *dns.Msg, addresses []netip.Addr) *dns.Msg {
	answer := new(dns.Msg).SetReply(query)
	answer.RecursionAvailable = true
	question := query.Question[0]
	for _, address := range addresses {
		header := dns.RR_Header{Name: question.Name, Class: dns.ClassINET, Ttl: memberTTL}
		switch {
		case address.Is4() && question.Qtype == dns.TypeA:
			header.Rrtype = dns.TypeA
			answer.Answer = append(answer.Answer, &dns.A{Hdr: header, A: address.AsSlice()})
		case address.Is6() && question.Qtype == dns.TypeAAAA:
			header.Rrtype = dns.TypeAAAA
			answer.Answer = append(answer.Answer, &dns.AAAA{Hdr: header, AAAA: address.AsSlice()})
		}
	}
	return answer
}

// forward sends a query to the host's resolvers in turn until one answers. Each query has a new ID and
// port, which the client does not know.
func (f *forwarder) forward(query *dns.Msg, network string) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(f.ctx, queryTimeout)
	defer cancel()
	resolvers, err := f.resolvers()
	if err != nil {
		return nil, err
	}
	asked := query.Copy()
	asked.Id = dns.Id()
	client := dns.Client{Net: network, Timeout: queryTimeout}
	if len(resolvers) > 1 {
		client.Timeout = resolverTimeout
	}
	var errs []error
	for _, resolver := range resolvers {
		answer, err := exchange(ctx, &client, asked, resolver)
		if err == nil {
			answer.Id = query.Id
			return answer, nil
		}
		errs = append(errs, fmt.Errorf("ask %s: %w", resolver, err))
	}
	return nil, errors.Join(errs...)
}

// exchange sends a query to one resolver. Unlike ExchangeContext of the client, it also ends with ctx
// while it reads.
func exchange(ctx context.Context, client *dns.Client, query *dns.Msg, resolver string) (*dns.Msg, error) {
	conn, err := client.DialContext(ctx, resolver)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	answer, _, err := client.ExchangeWithConnContext(ctx, query, conn)
	if err != nil {
		return nil, err
	}
	if !answers(answer, query) {
		return nil, errors.New("the answer is for another query")
	}
	return answer, nil
}

// answers reports whether a message answers a query.
func answers(answer, query *dns.Msg) bool {
	return answer.Response && len(answer.Question) == 1 &&
		answer.Question[0].Qtype == query.Question[0].Qtype &&
		strings.EqualFold(answer.Question[0].Name, query.Question[0].Name)
}

// readResolvers returns the resolvers of a resolv.conf, for example "192.0.2.53:53". Without one, programs
// ask the loopback address.
func readResolvers(path string) ([]string, error) {
	config, err := dns.ClientConfigFromFile(path)
	if err != nil {
		return nil, fmt.Errorf("read resolvers: %w", err)
	}
	var resolvers []string
	for _, server := range config.Servers {
		resolvers = append(resolvers, net.JoinHostPort(server, config.Port))
	}
	if len(resolvers) == 0 {
		resolvers = []string{net.JoinHostPort("127.0.0.1", config.Port)}
	}
	return resolvers, nil
}
