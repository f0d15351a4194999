package hookproxy

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"slipway/runner/gitrelay"
)

const (
	httpPort  = 80
	httpsPort = 443

	// maxFetches bounds the connections of hooks to the gateway; further connections wait.
	maxFetches = 8
	// gatewayTimeout bounds the time until the gateway responds. It first fetches from the provider.
	gatewayTimeout = 5 * time.Minute
)

// addSource adds the server in place of the source provider.
func (p *Proxies) addSource(o Options) error {
	source, err := url.Parse(o.Source)
	if err != nil || source.Scheme != "https" && source.Scheme != "http" {
		return errors.New("the repository's address does not use https")
	}
	gateway, err := url.Parse(o.Gateway)
	if err != nil {
		return fmt.Errorf("parse the address of the gateway's git proxy: %w", err)
	}
	s := site{host: strings.ToLower(source.Hostname()), port: httpsPort, plain: source.Scheme == "http"}
	if s.plain {
		s.port = httpPort
	}
	host := s.host
	if text := source.Port(); text != "" {
		if s.port, err = strconv.Atoi(text); err != nil {
			return err
		}
		host = s.address()
	}
	s.handler, err = gitrelay.New(p.attempt, gitrelay.Options{
		Host:      host,
		Plain:     s.plain,
		Path:      strings.TrimSuffix(strings.Trim(source.Path, "/"), ".git"),
		Gateway:   gateway,
		Token:     o.Token,
		Others:    newOthers(&url.URL{Scheme: source.Scheme, Host: host}, o.Policy, o.Log),
		Transport: newTransport(),
		Log:       o.Log,
	})
	if err != nil {
		return err
	}
	return p.add(s)
}

// newTransport returns a transport to the gateway. HTTP/2 shares one flow control between fetches.
func newTransport() http.RoundTripper {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment, // the runner's own requests use the same proxy
		Protocols:             protocols,
		DisableCompression:    true, // bodies are passed on as they are
		MaxConnsPerHost:       maxFetches,
		TLSHandshakeTimeout:   30 * time.Second,
		ResponseHeaderTimeout: gatewayTimeout,
		IdleConnTimeout:       90 * time.Second,
	}
}
