package api

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"unicode"

	"github.com/gin-gonic/gin"

	"slipway/config/grammar"
	"slipway/config/text"
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/inrepo"
	"slipway/plugin/web/httpx"
	"slipway/runner/spec"
)

const (
	// Size limits of a join request and of the ref in it, in bytes.
	maxJoin = 8 << 10
	maxRef  = 1 << 10
)

// join returns a build and its token to a step in the repository's own pipeline.
func (a *API) join(c *gin.Context) error {
	token, err := bearerToken(c)
	if err != nil {
		return err
	}
	var request spec.PipelineRequest
	if err := httpx.ReadJSON(c, maxJoin, &request); err != nil {
		return err
	}
	pipeline, err := pipelineRequest(c.Param("id"), request)
	if err != nil {
		return err
	}
	response, err := a.o.Pipelines.RequestBuild(c.Request.Context(), token, pipeline)
	var refused *inrepo.Refusal
	if errors.As(err, &refused) {
		status, _ := httpx.ErrorResponse(refused.Err)
		return &httpx.Error{Status: status, Message: refused.Reason}
	}
	if err != nil {
		return err
	}
	var body bytes.Buffer
	err = spec.EncodePipelineReply(&body, spec.PipelineReply{
		BuildID: response.BuildID,
		Build:   response.Number,
		Token:   response.Token,
		Reason:  response.Reason,
		Unsure:  response.Unsure,
	})
	if err != nil {
		return err
	}
	c.Header("Cache-Control", "no-store")
	c.Data(http.StatusOK, "application/json", body.Bytes())
	return nil
}

// pipelineRequest converts a request, and checks its values.
func pipelineRequest(automatedBuildID string, r spec.PipelineRequest) (autobuild.PipelineRequest, error) {
	if !grammar.IsCommit(r.Commit) {
		return autobuild.PipelineRequest{}, &httpx.Error{
			Status:  http.StatusBadRequest,
			Message: "commit: send 40 hexadecimal digits",
		}
	}
	ref, ok := autobuild.ParseRef(r.Ref)
	if !ok || len(r.Ref) > maxRef {
		return autobuild.PipelineRequest{}, &httpx.Error{
			Status:  http.StatusBadRequest,
			Message: "ref: send the full name of a branch or tag, for example refs/heads/main",
		}
	}
	pipeline := strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return -1
	}, text.Clip(r.Pipeline, spec.MaxPipeline))
	if pipeline == "" {
		return autobuild.PipelineRequest{}, &httpx.Error{
			Status:  http.StatusBadRequest,
			Message: "pipeline: missing: send its link or name",
		}
	}
	return autobuild.PipelineRequest{
		AutomatedBuildID: automatedBuildID,
		Ref:              ref,
		Commit:           r.Commit,
		Pipeline:         pipeline,
	}, nil
}
