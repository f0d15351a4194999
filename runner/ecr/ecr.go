// Package ecr logs in at Amazon's registry with an access key, and makes and settles
// repositories there.
// It follows https://docs.aws.amazon.com/AmazonECR/latest/APIReference/ by way of Amazon's SDK.
package ecr

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/smithy-go"

	"slipway/config/secret"
)

const (
	callTime  = 30 * time.Second // of one request
	maxAnswer = 1 << 20          // bytes
)

// Options make a Client; Region, KeyID and KeySecret are required.
type Options struct {
	Region    string
	KeyID     string
	KeySecret secret.Secret
	Session   secret.Secret // of a key that was lent; may be empty
	Endpoint  string        // empty = Amazon's, for the region
	Pause     time.Duration // the longest between tries; 0 = the SDK's own
}

// A Client speaks to the registry of one region. It tries again what may succeed later, three
// times in all, and is safe for concurrent use.
type Client struct{ api *ecr.Client }

// New makes a Client. It makes no request.
func New(o Options) *Client {
	return &Client{ecr.New(ecr.Options{
		Region: o.Region,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: o.KeyID, SecretAccessKey: o.KeySecret.Reveal(), SessionToken: o.Session.Reveal()}, nil
		}),
		HTTPClient: &http.Client{Timeout: callTime, Transport: bounded{http.DefaultTransport}},
		Retryer: retry.NewStandard(func(s *retry.StandardOptions) {
			if o.Pause > 0 {
				s.MaxBackoff = o.Pause
			}
		}),
		BaseEndpoint: endpoint(o.Endpoint),
	})}
}

func endpoint(given string) *string {
	if given == "" {
		return nil
	}
	return &given
}

// bounded cuts answers that are too long.
type bounded struct{ base http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.base.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	}
	return resp, err
}

// Login returns the user name and password by which a registry of the region knows the key,
// for twelve hours.
func (c *Client) Login(ctx context.Context) (username string, password secret.Secret, err error) {
	out, err := c.api.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return "", secret.Secret{}, explain("ecr:GetAuthorizationToken", err)
	}
	if len(out.AuthorizationData) == 0 {
		return "", secret.Secret{}, errors.New("ecr:GetAuthorizationToken: Amazon answered without a token")
	}
	text, err := base64.StdEncoding.DecodeString(aws.ToString(out.AuthorizationData[0].AuthorizationToken))
	username, token, found := strings.Cut(string(text), ":")
	if err != nil || !found || username == "" || token == "" {
		return "", secret.Secret{}, errors.New("ecr:GetAuthorizationToken: Amazon's token is not of the form that it documents")
	}
	return username, secret.New(token), nil
}

// A Repository is what one is to be like; what is not said stays as it is.
type Repository struct {
	Name      string
	Create    bool
	Scan      *bool  // on push
	Lifecycle string // policies, as JSON
	Policy    string
}

// Settle makes a repository be as it is wanted. Repeating it is harmless. Done is what was made
// or changed, for people, also when an error ended it.
func (c *Client) Settle(ctx context.Context, want Repository) (done []string, err error) {
	if want.Create {
		made, err := c.create(ctx, want)
		if err != nil {
			return done, err
		}
		if made {
			done = append(done, "made")
		}
	}
	name := &want.Name
	if want.Scan != nil {
		_, err := c.api.PutImageScanningConfiguration(ctx, &ecr.PutImageScanningConfigurationInput{RepositoryName: name, ImageScanningConfiguration: scanning(*want.Scan)})
		if err != nil {
			return done, explain("ecr:PutImageScanningConfiguration", err)
		}
		done = append(done, fmt.Sprintf("scan on push: %t", *want.Scan))
	}
	if want.Lifecycle != "" {
		if _, err := c.api.PutLifecyclePolicy(ctx, &ecr.PutLifecyclePolicyInput{RepositoryName: name, LifecyclePolicyText: &want.Lifecycle}); err != nil {
			return done, explain("ecr:PutLifecyclePolicy", err)
		}
		done = append(done, "lifecycle policy")
	}
	if want.Policy != "" {
		if _, err := c.api.SetRepositoryPolicy(ctx, &ecr.SetRepositoryPolicyInput{RepositoryName: name, PolicyText: &want.Policy}); err != nil {
			return done, explain("ecr:SetRepositoryPolicy", err)
		}
		done = append(done, "access policy")
	}
	return done, nil
}

// create reports whether the repository was not there.
func (c *Client) create(ctx context.Context, want Repository) (made bool, err error) {
	in := &ecr.CreateRepositoryInput{RepositoryName: &want.Name}
	if want.Scan != nil {
		in.ImageScanningConfiguration = scanning(*want.Scan)
	}
	_, err = c.api.CreateRepository(ctx, in)
	var there *types.RepositoryAlreadyExistsException
	if errors.As(err, &there) {
		return false, nil
	}
	if err != nil {
		return false, explain("ecr:CreateRepository", err)
	}
	return true, nil
}

func scanning(on bool) *types.ImageScanningConfiguration {
	return &types.ImageScanningConfiguration{ScanOnPush: on}
}

// ErrKey says that Amazon does not know the key, or that its secret is another; ErrDenied that
// the key may not do what was asked.
var (
	ErrKey    = errors.New("the access key is not known to Amazon, or its secret is another")
	ErrDenied = errors.New("the access key may not do that")
)

// explain tells the kinds of refusals apart.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/CommonErrors.html
func explain(action string, err error) error {
	var answer smithy.APIError
	if !errors.As(err, &answer) {
		return fmt.Errorf("%s: %w", action, err)
	}
	switch answer.ErrorCode() {
	case "UnrecognizedClientException", "InvalidSignatureException", "InvalidClientTokenId", "SignatureDoesNotMatch", "ExpiredTokenException":
		return fmt.Errorf("%s: %w (%s)", action, ErrKey, answer.ErrorCode())
	case "AccessDeniedException":
		return fmt.Errorf("%s: %w: %s", action, ErrDenied, answer.ErrorMessage())
	}
	return fmt.Errorf("%s: %s: %s", action, answer.ErrorCode(), answer.ErrorMessage())
}
