package api

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
	"slipway/plugin/logs"
	"slipway/plugin/web/httpx"
	"slipway/runner/spec"
)

// findAttempt returns the attempt that the request's token is bound to. If the attempt is over, it
// returns the attempt with ErrFenced. It also adds the attempt to the request's log fields.
func (a *API) findAttempt(c *gin.Context) (autobuild.Attempt, error) {
	token, err := bearerToken(c)
	if err != nil {
		return autobuild.Attempt{}, err
	}
	ctx := c.Request.Context()
	attempt, err := a.o.Store.AttemptByToken(ctx, c.Param("id"), autobuild.TokenHash(token))
	if attempt.BuildID != "" {
		c.Request = c.Request.WithContext(logctx.Attempt(ctx, attempt))
	}
	return attempt, err
}

// bearerToken returns the request's token. It returns ErrUnauthorized if there is no token.
func bearerToken(c *gin.Context) (secret.Secret, error) {
	token, found := strings.CutPrefix(c.GetHeader("Authorization"), "Bearer ")
	if !found || token == "" {
		return secret.Secret{}, autobuild.ErrUnauthorized
	}
	return secret.New(token), nil
}

// withAttempt calls a handler with the attempt that the token is bound to.
func (a *API) withAttempt(h func(*gin.Context, autobuild.Attempt) error) httpx.HandlerFunc {
	return func(c *gin.Context) error {
		attempt, err := a.findAttempt(c)
		if err != nil {
			return err
		}
		return h(c, attempt)
	}
}

// claim assigns the attempt to the runner (Watcher), and returns its work with the credentials that are
// stored now (Specs).
func (a *API) claim(c *gin.Context, attempt autobuild.Attempt) error {
	var request spec.ClaimRequest
	if err := httpx.ReadJSON(c, maxReport, &request); err != nil {
		return err
	}
	if err := checkClaim(request); err != nil {
		return err
	}
	ctx := c.Request.Context()
	if err := a.o.Watcher.Claim(ctx, attempt, request.RunnerID); err != nil {
		return err
	}
	if err := a.o.Store.SetRunnerVersion(ctx, attempt.BuildID, attempt.Number, request.Version); err != nil {
		return err
	}
	s, err := a.o.Specs.Spec(ctx, attempt)
	if err != nil {
		return specProblem(err)
	}
	a.o.Logs.SetSecrets(attempt.BuildID, attempt.Number, secretsOf(s))
	var body bytes.Buffer
	if err := spec.EncodeSpec(&body, s); err != nil {
		return err
	}
	c.Header("Cache-Control", "no-store")
	c.Data(http.StatusOK, "application/json", body.Bytes())
	return nil
}

// specProblem maps an error of Spec to a 424 with the reason. A rejected credential of Bitbucket is
// not the runner's own, and a 401 would mean that the runner's token is unknown.
func specProblem(err error) error {
	switch {
	case errors.Is(err, autobuild.ErrUnauthorized):
		return &httpx.Error{Status: http.StatusFailedDependency, Err: err,
			Message: "Bitbucket does not accept the linked account's credential: link the account again"}
	case errors.Is(err, autobuild.ErrNotFound),
		errors.Is(err, autobuild.ErrForbidden),
		errors.Is(err, autobuild.ErrConflict):
		return &httpx.Error{Status: http.StatusFailedDependency, Err: err,
			Message: "the automated build, its repository or its linked account no longer exists"}
	}
	return err
}

func secretsOf(s spec.Spec) []secret.Secret {
	all := []secret.Secret{s.BuilderTLS}
	for _, r := range s.Registries {
		all = append(all, r.Password)
	}
	for _, value := range s.Environment {
		all = append(all, value)
	}
	return all
}

// recordEvents stores new events and renews the heartbeat.
func (a *API) recordEvents(c *gin.Context, attempt autobuild.Attempt) error {
	if err := a.events.Allow(nameOf(attempt)); err != nil {
		return err
	}
	var request spec.EventsRequest
	if err := httpx.ReadJSON(c, maxReport, &request); err != nil {
		return err
	}
	if err := checkEvents(request.Events); err != nil {
		return err
	}
	ctx := c.Request.Context()
	fresh := eventsAfter(attempt.EventSeq, request.Events)
	record := autobuild.EventRecord{Seq: attempt.EventSeq}
	if len(fresh) > 0 {
		b, err := a.o.Store.Build(ctx, attempt.BuildID)
		if err != nil {
			return err
		}
		record = recordOf(b.Stages, fresh)
	}
	if len(record.Stages) > spec.MaxStages {
		return invalidField(
			"events",
			"the attempt has %d stages: report at most %d",
			len(record.Stages),
			spec.MaxStages,
		)
	}
	if err := a.o.Watcher.Events(ctx, attempt, record); err != nil {
		return err
	}
	c.JSON(http.StatusOK, spec.EventsReply{Seq: record.Seq})
	return nil
}

// appendLog stores raw bytes of the log at an offset.
func (a *API) appendLog(c *gin.Context, attempt autobuild.Attempt) error {
	offset, err := strconv.ParseInt(c.Query("offset"), 10, 64)
	if err != nil || offset < 0 {
		return &httpx.Error{Status: http.StatusBadRequest, Message: "offset: send a number of bytes"}
	}
	data, err := httpx.ReadBody(c, spec.MaxLogChunk)
	if err != nil {
		return err
	}
	size, err := a.o.Logs.Append(c.Request.Context(), attempt.BuildID, attempt.Number, offset, data)
	if errors.Is(err, logs.ErrGap) {
		c.JSON(http.StatusConflict, spec.LogReply{Size: size})
		return nil
	}
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, spec.LogReply{Size: size})
	return nil
}

// permit returns whether the attempt may move tags.
func (a *API) permit(c *gin.Context, attempt autobuild.Attempt) error {
	if err := a.permits.Allow(nameOf(attempt)); err != nil {
		return err
	}
	var request spec.PermitRequest
	if err := httpx.ReadJSON(c, maxReport, &request); err != nil {
		return err
	}
	if err := checkPermit(request); err != nil {
		return err
	}
	granted, reason, err := a.o.Watcher.Permit(c.Request.Context(), attempt, request.Tags, request.ExtraTags)
	if err != nil {
		return asInvalid(err)
	}
	c.JSON(http.StatusOK, spec.PermitReply{Granted: granted, Reason: reason})
	return nil
}

// finish stores the result of an attempt. A runner repeats a result if the reply was lost, so it also
// accepts a finished attempt, and the watcher compares the results.
func (a *API) finish(c *gin.Context) error {
	attempt, err := a.findAttempt(c)
	repeated := errors.Is(err, autobuild.ErrFenced) && attempt.BuildID != ""
	if err != nil && !repeated {
		return err
	}
	var result spec.Result
	if err := httpx.ReadJSON(c, maxReport, &result); err != nil {
		return err
	}
	if err := checkResult(result); err != nil {
		return err
	}
	if err := a.o.Watcher.Finish(c.Request.Context(), attempt, finishOf(attempt, result)); err != nil {
		return asInvalid(err)
	}
	c.Status(http.StatusNoContent)
	return nil
}
