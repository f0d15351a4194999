package attempt

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/runner/buildhooks"
	"slipway/runner/hookproxy"
	"slipway/runner/registryproxy"
	"slipway/runner/report"
	"slipway/runner/spec"
)

// permitTimeout bounds the time in which the gateway answers a hook's push.
const permitTimeout = time.Minute

// newHookProxies makes the servers for hooks in their sandbox. One replaces the source provider. If a
// hook may push the image, another replaces the image's registry.
func (j *job) newHookProxies(ctx context.Context, hooks buildhooks.Hooks) (*hookproxy.Proxies, error) {
	gateway, err := j.o.Settings.GitProxy()
	if err != nil {
		return nil, err
	}
	o := hookproxy.Options{
		Source:  j.spec.Source.URL,
		Gateway: gateway,
		Token:   j.o.Settings.Token,
		End:     j.o.Now().Add(j.spec.Timeout),
		Policy:  j.o.Settings.Networks,
		Log:     j.warnings(),
	}
	if pushing := hooks.Pushing(); j.spec.Publish && len(pushing) > 0 {
		o.Image = &hookproxy.Image{Name: j.spec.Image, Login: j.logins.ForImage(), Permit: j.permitHook}
		j.log.Line("%s: may push %s, and no other image of its registry", buildhooks.Files(pushing), j.spec.Image)
	}
	proxies, err := hookproxy.New(ctx, o)
	if err != nil {
		return nil, failed(reasonHook, err)
	}
	if problem := proxies.Problem(); problem != "" {
		j.log.Line("in a build hook, git fetch from a private repository fails: %s", problem)
	}
	return proxies, nil
}

// warnings returns a logger whose warnings are lines of the build's log.
func (j *job) warnings() logrus.FieldLogger {
	logger := logrus.New()
	logger.Out = j.log
	logger.Level = logrus.WarnLevel
	logger.Formatter = &logrus.TextFormatter{DisableColors: true, DisableTimestamp: true}
	return logger
}

// permitHook requests the permit for a tag that a hook pushes.
func (j *job) permitHook(ctx context.Context, tag, digest string) error {
	ctx, cancel := context.WithTimeout(ctx, permitTimeout)
	defer cancel()
	ask := j.client.PermitExtra
	if slices.Contains(j.spec.Tags, tag) {
		ask = j.client.Permit
	}
	reply, err := ask(ctx, digest, []string{tag})
	var refused *report.StatusError
	switch {
	case errors.As(err, &refused) && refused.Status == http.StatusUnprocessableEntity:
		return fmt.Errorf("%w: %s", registryproxy.ErrRefused, refused.Message)
	case err != nil:
		return err
	case !reply.Granted:
		return fmt.Errorf("%w: %s", registryproxy.ErrRefused, reply.Reason)
	}
	return nil
}

// extraTags returns the tags that hooks pushed besides the build's.
func (j *job) extraTags(c checkout) []spec.TagResult {
	if c.proxies == nil {
		return nil
	}
	return slices.DeleteFunc(
		c.proxies.Tags(),
		func(t spec.TagResult) bool { return slices.Contains(j.spec.Tags, t.Tag) },
	)
}
