// Package ecr logs in to Amazon ECR with an access key, and creates and configures repositories.
// It uses Amazon's SDK for https://docs.aws.amazon.com/AmazonECR/latest/APIReference/.
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
	requestTimeout = 30 * time.Second
	maxResponse    = 1 << 20 // bytes
)

// Options configure a Client. Region, KeyID and KeySecret are required.
type Options struct {
	Region    string // for example eu-central-1
	KeyID     string
	KeySecret secret.Secret
	Session   secret.Secret // session token of a temporary key; may be empty
	Endpoint  string        // base URL of the API; empty = Amazon's for the region
	Pause     time.Duration // longest pause between tries; 0 = the SDK's default
}

// A Client calls the ECR API of one region. It retries temporary failures, with three tries in all.
// It is safe for concurrent use.
type Client struct{ api *ecr.Client }

// New returns a Client. It makes no request.
func New(o Options) *Client {
	return &Client{ecr.New(ecr.Options{
		Region: o.Region,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{
				AccessKeyID: o.KeyID, SecretAccessKey: o.KeySecret.Reveal(), SessionToken: o.Session.Reveal(),
			}, nil
		}),
		HTTPClient: &http.Client{Timeout: requestTimeout, Transport: boundedTransport{http.DefaultTransport}},
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

// boundedTransport truncates response bodies after maxResponse bytes.
type boundedTransport struct{ base http.RoundTripper }

func (b boundedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.base.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxResponse), resp.Body}
	}
	return resp, err
}

// Login returns a user name and a password for the registries of the region. They are valid for
// twelve hours. The error wraps ErrKey if Amazon rejects the key, and ErrDenied if the key lacks the
// permission ecr:GetAuthorizationToken.
func (c *Client) Login(ctx context.Context) (username string, password secret.Secret, err error) {
	out, err := c.api.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return "", secret.Secret{}, explain("ecr:GetAuthorizationToken", err)
	}
	if len(out.AuthorizationData) == 0 {
		return "", secret.Secret{}, errors.New("ecr:GetAuthorizationToken: Amazon returned no token")
	}
	text, err := base64.StdEncoding.DecodeString(aws.ToString(out.AuthorizationData[0].AuthorizationToken))
	username, token, found := strings.Cut(string(text), ":")
	if err != nil || !found || username == "" || token == "" {
		return "", secret.Secret{}, errors.New(
			"ecr:GetAuthorizationToken: Amazon's token does not have the documented form",
		)
	}
	return username, secret.New(token), nil
}

// A Repository is the desired state of a repository. Settings that are not set stay unchanged.
type Repository struct {
	Name      string // without the registry, for example acme/app
	Create    bool   // create the repository if it does not exist
	Scan      *bool  // scan images on push; nil = unchanged
	Lifecycle string // lifecycle policy as JSON; empty = unchanged
	Policy    string // access policy as JSON; empty = unchanged
}

// EnsureRepository creates the repository if Create is set, and applies its settings. It is idempotent. It
// returns the applied changes as text for the log, also together with an error. The error wraps ErrKey or
// ErrDenied.
func (c *Client) EnsureRepository(ctx context.Context, want Repository) (done []string, err error) {
	if want.Create {
		created, err := c.create(ctx, want)
		if err != nil {
			return done, err
		}
		if created {
			done = append(done, "made")
		}
	}
	name := &want.Name
	if want.Scan != nil {
		in := &ecr.PutImageScanningConfigurationInput{
			RepositoryName:             name,
			ImageScanningConfiguration: scanning(*want.Scan),
		}
		if _, err := c.api.PutImageScanningConfiguration(ctx, in); err != nil {
			return done, explain("ecr:PutImageScanningConfiguration", err)
		}
		done = append(done, fmt.Sprintf("scan on push: %t", *want.Scan))
	}
	if want.Lifecycle != "" {
		in := &ecr.PutLifecyclePolicyInput{RepositoryName: name, LifecyclePolicyText: &want.Lifecycle}
		if _, err := c.api.PutLifecyclePolicy(ctx, in); err != nil {
			return done, explain("ecr:PutLifecyclePolicy", err)
		}
		done = append(done, "lifecycle policy")
	}
	if want.Policy != "" {
		in := &ecr.SetRepositoryPolicyInput{RepositoryName: name, PolicyText: &want.Policy}
		if _, err := c.api.SetRepositoryPolicy(ctx, in); err != nil {
			return done, explain("ecr:SetRepositoryPolicy", err)
		}
		done = append(done, "access policy")
	}
	return done, nil
}

// create creates the repository. It returns false if the repository already exists.
func (c *Client) create(ctx context.Context, want Repository) (created bool, err error) {
	in := &ecr.CreateRepositoryInput{RepositoryName: &want.Name}
	if want.Scan != nil {
		in.ImageScanningConfiguration = scanning(*want.Scan)
	}
	_, err = c.api.CreateRepository(ctx, in)
	var exists *types.RepositoryAlreadyExistsException
	if errors.As(err, &exists) {
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

// ErrKey reports that Amazon does not know the key ID, or that the secret does not match it. ErrDenied
// reports that the key lacks the permission for the action.
var (
	ErrKey    = errors.New("the access key is unknown at Amazon, or its secret is wrong")
	ErrDenied = errors.New("the access key does not have the permission")
)

// explain adds the action to an error, and maps Amazon's error codes to ErrKey and ErrDenied.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/CommonErrors.html
func explain(action string, err error) error {
	var apiErr smithy.APIError
	if !errors.As(err, &apiErr) {
		return fmt.Errorf("%s: %w", action, err)
	}
	switch apiErr.ErrorCode() {
	case "UnrecognizedClientException", "InvalidSignatureException", "InvalidClientTokenId",
		"SignatureDoesNotMatch", "ExpiredTokenException":
		return fmt.Errorf("%s: %w (%s)", action, ErrKey, apiErr.ErrorCode())
	case "AccessDeniedException":
		return fmt.Errorf("%s: %w: %s", action, ErrDenied, apiErr.ErrorMessage())
	}
	return fmt.Errorf("%s: %s: %s", action, apiErr.ErrorCode(), apiErr.ErrorMessage())
}
