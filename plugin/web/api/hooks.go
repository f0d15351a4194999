package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"slipway/plugin/intake"
	"slipway/plugin/web/httpx"
)

// Intake stores deliveries. *intake.Intake implements it.
type Intake interface {
	// Known reports whether a webhook exists. It is false if that cannot be read.
	Known(ctx context.Context, hookID string) bool
	Receive(ctx context.Context, hookID string, header http.Header, body []byte) error
}

// receive returns 202 after the delivery is stored. It returns the same 401 for an unknown hook and
// for a wrong signature. It returns 503 for temporary errors, and Bitbucket then repeats the delivery.
func (a *API) receive(c *gin.Context) error {
	control := http.NewResponseController(c.Writer)
	// While the budget of unknown webhooks is used up, its 503 shows whether a webhook exists. Ids are random.
	inFlight := &a.unknown
	if a.o.Intake.Known(c.Request.Context(), c.Param("id")) {
		inFlight = &a.inFlight
	}
	metered, release := inFlight.read(c.Request.Body, httpx.Client(c), func() {
		_ = control.SetReadDeadline(time.Now()) // fails only if the writer has no deadlines
	})
	defer release()
	c.Request.Body = io.NopCloser(metered)
	body, err := httpx.ReadBody(c, intake.MaxBody)
	if errors.Is(err, errBusy) {
		return &httpx.Error{Status: http.StatusServiceUnavailable, Message: "not stored; send it again", Err: err}
	}
	if err != nil {
		return err
	}
	err = a.o.Intake.Receive(c.Request.Context(), c.Param("id"), c.Request.Header, body)
	switch {
	case errors.Is(err, intake.ErrUnauthorized):
		return &httpx.Error{
			Status:  http.StatusUnauthorized,
			Message: "unknown webhook or wrong signature",
			Err:     err,
		}
	case errors.Is(err, intake.ErrTooLarge):
		return &httpx.Error{Status: http.StatusRequestEntityTooLarge, Message: "the delivery is too large", Err: err}
	case err != nil:
		return &httpx.Error{Status: http.StatusServiceUnavailable, Message: "not stored; send it again", Err: err}
	}
	c.Status(http.StatusAccepted)
	return nil
}
