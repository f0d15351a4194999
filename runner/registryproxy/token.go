package registryproxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	maxTokenResponse = 1 << 20 // bytes of a token server's response
	// defaultLife is a token's lifetime if its server sends none.
	// Source: https://distribution.github.io/distribution/spec/auth/token/#token-response-fields
	defaultLife = time.Minute
	maxLife     = 24 * time.Hour
)

// A token authorizes requests until it expires. Its server's clock decides.
type token struct {
	header   string
	obtained time.Time
	renewAt  time.Time
	err      error // the token server's refusal, in place of a header
}

// A tokenResponse is the response of a token server. Docker Hub and Artifact Registry send token, Azure
// access_token, some both.
type tokenResponse struct {
	Token       string `json:"token"`
	AccessToken string `json:"access_token"`
	ExpiresIn   int64  `json:"expires_in"` // seconds
}

// fetch gets a token for the scopes. A problem is the token server's refusal.
func (a *authorizer) fetch(ctx context.Context, scopes []string) (token, error) {
	request, err := a.tokenRequest(ctx, scopes)
	if err != nil {
		return token{}, err
	}
	asked := a.now() // the token's life begins after this
	resp, err := a.http.RoundTrip(request)
	if err != nil {
		return token{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusBadRequest: // OAuth refuses with 400
		return token{}, errRefusedLogin
	default:
		return token{}, fmt.Errorf("token server %s: %s", a.challenge.realm.Host, resp.Status)
	}
	var response tokenResponse
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxTokenResponse)).Decode(&response); err != nil {
		return token{}, fmt.Errorf("token server %s: %w", a.challenge.realm.Host, err)
	}
	if response.Token == "" {
		response.Token = response.AccessToken
	}
	if response.Token == "" {
		return token{}, fmt.Errorf(
			"token server %s: %w",
			a.challenge.realm.Host,
			errors.New("the response has no token"),
		)
	}
	return token{"Bearer " + response.Token, asked, asked.Add(usableLife(response.ExpiresIn)), nil}, nil
}

// errRefusedLogin is the response if the installation's credential is refused. The registry's own
// text is not read: it may repeat the credential.
var errRefusedLogin = problem{http.StatusForbidden, "DENIED",
	"the registry refuses the installation's credential for this repository: an administrator must check it"}

// usableLife returns the time for which a token is used; seconds is its lifetime. Use ends one minute
// before the token expires. If half of the lifetime is less than a minute, use ends after that half.
func usableLife(seconds int64) time.Duration {
	life := defaultLife
	if seconds > 0 {
		life = min(time.Duration(min(seconds, int64(maxLife/time.Second)))*time.Second, maxLife)
	}
	return life - min(life/2, loginMargin)
}

// tokenRequest makes a GET request with the user name and password, or OAuth's POST request with an
// identity token.
// Source: https://distribution.github.io/distribution/spec/auth/oauth/
func (a *authorizer) tokenRequest(ctx context.Context, scopes []string) (*http.Request, error) {
	target := *a.challenge.realm
	login := *a.current
	if login.Username == "" && !login.Password.IsZero() {
		form := url.Values{
			"grant_type":    {"refresh_token"},
			"service":       {a.challenge.service},
			"scope":         {strings.Join(scopes, " ")},
			"client_id":     {userAgent},
			"refresh_token": {login.Password.Reveal()},
		}
		request, err := http.NewRequestWithContext(
			ctx,
			http.MethodPost,
			target.String(),
			strings.NewReader(form.Encode()),
		)
		if err != nil {
			return nil, err
		}
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("User-Agent", userAgent)
		return request, nil
	}
	query := target.Query()
	query.Set("service", a.challenge.service)
	query["scope"] = scopes
	target.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", userAgent)
	if header := basic(login); header != "" {
		request.Header.Set("Authorization", header)
	}
	return request, nil
}
