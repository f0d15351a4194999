package httpx_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"slipway/plugin/autobuild"
	"slipway/plugin/web/httpx"
)

func serve(t *testing.T, body string, h httpx.HandlerFunc) (*httptest.ResponseRecorder, *logtest.Hook) {
	t.Helper()
	gin.SetMode(gin.TestMode)
	log, hook := logtest.NewNullLogger()
	log.SetLevel(logrus.DebugLevel)
	engine := gin.New()
	engine.POST("/x", httpx.Errors(log, httpx.JSON), httpx.Handle(h))
	w := httptest.NewRecorder()
	engine.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/x", strings.NewReader(body)))
	return w, hook
}

func TestErrorsBecomeStatuses(t *testing.T) {
	tests := map[string]struct {
		err    error
		status int
		text   string
	}{
		"not found":    {fmt.Errorf("build 7: %w", autobuild.ErrNotFound), 404, "not found"},
		"unauthorized": {autobuild.ErrUnauthorized, 401, "credential"},
		"forbidden":    {autobuild.ErrForbidden, 403, "not allowed"},
		"fenced":       {autobuild.ErrFenced, 410, "over"},
		"conflict":     {autobuild.ErrConflict, 409, "changed"},
		"hook refused": {autobuild.ErrHookRefused, 422, "webhook"},
		"removed":      {autobuild.ErrRemoved, 502, "removed"},
		"rate limited": {&autobuild.RateLimitError{RetryAfter: 2 * time.Second}, 503, "try again"},
		"deadline":     {context.DeadlineExceeded, 504, "too long"},
		"left":         {context.Canceled, httpx.StatusClientClosed, "cancelled"},
		"own": {
			&httpx.Error{Status: 424, Message: "re-link the account", Err: autobuild.ErrUnauthorized},
			424,
			"re-link",
		},
		"unknown": {errors.New("dial 10.0.0.7: secret detail"), 500, "internal error"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w, hook := serve(t, "", func(*gin.Context) error { return tt.err })
			if w.Code != tt.status {
				t.Errorf("status: got %v, want %v", w.Code, tt.status)
			}
			if !strings.Contains(w.Body.String(), tt.text) {
				t.Errorf("body: got %q, want it to contain %q", w.Body.String(), tt.text)
			}
			if strings.Contains(w.Body.String(), "secret detail") {
				t.Error("body of a 500: got the cause, want none")
			}
			if len(hook.Entries) != 1 {
				t.Fatalf("number of entries: got %d, want 1 (%v)", len(hook.Entries), hook.Entries)
			}
			if !errors.Is(hook.LastEntry().Data["error"].(error), tt.err) {
				t.Errorf("error: got %v, want %v", hook.LastEntry().Data["error"].(error), tt.err)
			}
		})
	}
}

func TestRateLimitSaysWhenToComeBack(t *testing.T) {
	w, _ := serve(
		t,
		"",
		func(*gin.Context) error { return &autobuild.RateLimitError{RetryAfter: 1500 * time.Millisecond} },
	)
	if got := w.Header().Get("Retry-After"); got != "2" {
		t.Errorf("Retry-After: got %q, want 2", got)
	}
}

func TestBodiesAreBounded(t *testing.T) {
	w, _ := serve(t, strings.Repeat("x", 11), func(c *gin.Context) error {
		_, err := httpx.ReadBody(c, 10)
		return err
	})
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("status: got %d, want 413", w.Code)
	}
	w, _ = serve(t, `{"a":`, func(c *gin.Context) error {
		var v struct{ A int }
		return httpx.ReadJSON(c, 10, &v)
	})
	if w.Code != http.StatusBadRequest {
		t.Errorf("status: got %d, want 400", w.Code)
	}
	w, _ = serve(t, `{"a":3}`, func(c *gin.Context) error {
		var v struct{ A int }
		if err := httpx.ReadJSON(c, 10, &v); err != nil {
			return err
		}
		c.String(http.StatusOK, "%d", v.A)
		return nil
	})
	if w.Code != http.StatusOK {
		t.Errorf("status: got %v, want %v", w.Code, http.StatusOK)
	}
	if w.Body.String() != "3" {
		t.Errorf(`body: got %q, want "3"`, w.Body.String())
	}
	w, _ = serve(t, "abc", func(c *gin.Context) error {
		body, err := httpx.ReadBody(c, 10)
		c.String(http.StatusOK, "%s", body)
		return err
	})
	if w.Body.String() != "abc" {
		t.Errorf("body: got %q, want abc", w.Body)
	}
}

func TestErrorAfterTheReplyIsOnlyLogged(t *testing.T) {
	w, hook := serve(t, "", func(c *gin.Context) error {
		c.String(http.StatusOK, "done")
		return errors.New("too late")
	})
	if w.Code != http.StatusOK {
		t.Errorf("status: got %v, want %v", w.Code, http.StatusOK)
	}
	if w.Body.String() != "done" {
		t.Errorf(`body: got %q, want "done"`, w.Body.String())
	}
	if len(hook.Entries) != 1 {
		t.Errorf("number of entries: got %d, want 1 (%v)", len(hook.Entries), hook.Entries)
	}
}

func TestErrorText(t *testing.T) {
	if got := (&httpx.Error{Status: 400, Message: "no"}).Error(); got != "no" {
		t.Errorf(`error: got %q, want "no"`, got)
	}
	if got := (&httpx.Error{Status: 400, Message: "no", Err: errors.New("why")}).Error(); got != "no: why" {
		t.Errorf(`error: got %q, want "no: why"`, got)
	}
}
