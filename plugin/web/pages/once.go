package pages

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/gin-gonic/gin"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
	"slipway/plugin/web/httpx"
	"slipway/plugin/web/session"
)

const (
	// formLife is how long a form's key and its result are kept.
	formLife = 30 * time.Minute
	// formWait is how long a repeated form waits for the answer to the first one.
	formWait = 10 * time.Second
	// formPoll is the time between two looks at that answer.
	formPoll = 100 * time.Millisecond
	// maxKey is the maximum length of the id of a result, in bytes.
	maxKey = 64

	formKeyField = "key"
	// formIDName is the context key of the id of the request's form.
	formIDName = "slipway.form"
)

// creates reports whether the form of a route creates something, so that it must not be handled twice. Forms
// that change something to the same values again need no such care.
func creates(path string) bool {
	switch path {
	case "/automated-builds/new", "/automated-builds/:id/start", "/automated-builds/:id/webhook/rotate",
		"/builds/:number/rebuild", "/settings/providers/:id/token":
		return true
	}
	return false
}

// once returns a handler that handles a posted form once. A form that its session sends again, for example by
// a double click, gets the redirect of the first request. A form without a key is always handled. A form that
// was not handled, for example because of an invalid field, can be sent again.
func (p *Pages) once(handler httpx.HandlerFunc) httpx.HandlerFunc {
	return func(c *gin.Context) error {
		if err := parseForm(c); err != nil {
			return err
		}
		if c.Request.PostForm.Get(formKeyField) == "" {
			return handler(c)
		}
		c.Set(formIDName, formID(session.ID(c), c.Request.URL.Path, c.Request.PostForm))
		claimed, location, err := p.claimForm(c.Request.Context(), c)
		if err != nil {
			return err
		}
		if !claimed {
			return p.repeat(c, location)
		}
		answer := ""
		defer func() { p.storeAnswer(c, answer) }() // also after a panic
		if err := handler(c); err != nil {
			return err
		}
		if c.Writer.Status() == http.StatusSeeOther {
			answer = c.Writer.Header().Get("Location")
		}
		return nil
	}
}

// formID identifies a sent form: its session, its address, its key and all of its values. A form that is changed
// and sent again with the same key is another one.
func formID(sessionID, path string, form url.Values) string {
	sum := sha256.Sum256([]byte(sessionID + "\x00" + path + "\x00" + form.Encode()))
	return hex.EncodeToString(sum[:16])
}

// currentForm returns the id of the request's form.
func currentForm(c *gin.Context) string {
	if c.GetString(formIDName) == "" {
		c.Set(formIDName, rand.Text())
	}
	return c.GetString(formIDName)
}

func (p *Pages) claimForm(ctx context.Context, c *gin.Context) (claimed bool, location string, err error) {
	return p.Store.BeginForm(ctx, session.ID(c), currentForm(c), p.Now().Add(formLife))
}

// storeAnswer stores the redirect that answered a form, even if the client has disconnected. Without a redirect
// it releases the form.
func (p *Pages) storeAnswer(c *gin.Context, location string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request.Context()), formWait)
	defer cancel()
	var err error
	if location == "" {
		err = p.Store.DropForm(ctx, session.ID(c), currentForm(c))
	} else {
		err = p.Store.FinishForm(ctx, session.ID(c), currentForm(c), location)
	}
	if err != nil {
		logctx.Log(ctx, p.Log).WithError(err).Warn("answer to a form not stored")
	}
}

// repeat answers a form that was sent before, with the redirect of the first request. It only reads while it
// waits, because all writes of the gateway share one connection to SQLite.
func (p *Pages) repeat(c *gin.Context, location string) error {
	ctx, cancel := context.WithTimeout(c.Request.Context(), formWait)
	defer cancel()
	tick := time.NewTicker(formPoll)
	defer tick.Stop()
	for location == "" {
		select {
		case <-ctx.Done():
			return repeatError("has not ended yet. Wait a moment, then look at the result.")
		case <-tick.C:
		}
		stored, err := p.Store.FormLocation(ctx, session.ID(c), currentForm(c))
		switch {
		case errors.Is(err, autobuild.ErrNotFound):
			return repeatError("failed. Open the page of the form and send it again.")
		case err != nil && ctx.Err() == nil:
			return err
		}
		location = stored
	}
	c.Redirect(http.StatusSeeOther, location)
	return nil
}

func repeatError(first string) error {
	return &httpx.Error{
		Status:  http.StatusConflict,
		Message: "This form was sent twice, and the first request " + first,
	}
}

// A resultKind is the kind of a form's result.
type resultKind string

// The kinds. The first two have a page of their own, which can be loaded again. The others are shown once.
const (
	resultAdvice      resultKind = "advice"
	resultUnlinked    resultKind = "unlinked"
	resultHookSecret  resultKind = "hook secret"
	resultToken       resultKind = "pipeline token"
	resultEnvironment resultKind = "environment"
)

// A formResult is the result of a posted form, for the page that its redirect leads to.
type formResult struct {
	Kind     resultKind
	Page     string       `json:",omitempty"` // path of the only page that shows it; empty = it has a page of its own
	Title    string       `json:",omitempty"`
	Advice   []string     `json:",omitempty"`
	Link     string       `json:",omitempty"`
	Token    string       `json:",omitempty"` // a new pipeline token
	Engine   string       `json:",omitempty"` // whose environment is shown
	Unlinked unlinkedPage `json:",omitzero"`
}

// redirectResult stores the result of the request's form, and redirects to a page that shows it. fragment is
// the id of an element of that page, or "".
func (p *Pages) redirectResult(c *gin.Context, where, fragment string, r formResult) error {
	if where != resultsPath {
		r.Page = where
	}
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode the result of a form: %w", err)
	}
	key, until := currentForm(c), p.Now().Add(formLife)
	err = p.Store.SetFormResult(c.Request.Context(), session.ID(c), key, secret.New(string(text)), until)
	if err != nil {
		return err
	}
	if where == resultsPath {
		where += key
	} else {
		where += "?result=" + key
	}
	if fragment != "" {
		where += "#" + fragment
	}
	c.Redirect(http.StatusSeeOther, where)
	return nil
}

// resultsPath is the start of the addresses of results with a page of their own.
const resultsPath = "/results/"

// takeResult returns the result in the query of a request, once. It returns the zero value if the result is for
// another page: a person who may see a secret here need not have that right there.
func (p *Pages) takeResult(c *gin.Context) (formResult, error) {
	key := c.Query("result")
	if key == "" || len(key) > maxKey {
		return formResult{}, nil
	}
	stored, err := p.Store.TakeFormResult(c.Request.Context(), session.ID(c), key)
	if errors.Is(err, autobuild.ErrNotFound) {
		return formResult{}, nil
	}
	if err != nil {
		return formResult{}, err
	}
	r, err := decodeResult(stored)
	if err != nil || r.Page != c.Request.URL.Path {
		return formResult{}, err
	}
	return r, nil
}

func decodeResult(stored secret.Secret) (r formResult, err error) {
	if err := json.Unmarshal([]byte(stored.Reveal()), &r); err != nil {
		return formResult{}, fmt.Errorf("decode the result of a form: %w", err)
	}
	return r, nil
}

// showResult shows the result of a form of this session.
func (p *Pages) showResult(c *gin.Context) error {
	stored, err := p.Store.FormResult(c.Request.Context(), session.ID(c), c.Param("key"))
	if err != nil {
		return err
	}
	r, err := decodeResult(stored)
	if err != nil {
		return err
	}
	switch r.Kind {
	case resultAdvice:
		return p.show(c, http.StatusOK, "advice", frame{Title: r.Title, Nav: "automated", Content: r})
	case resultUnlinked:
		return p.show(c, http.StatusOK, "unlinked", frame{
			Title:   r.Unlinked.Account + " is unlinked",
			Nav:     "settings",
			Crumbs:  []crumb{{"Source providers", "/settings/providers"}},
			Content: r.Unlinked,
		})
	}
	return fmt.Errorf("result of the kind %q: %w", r.Kind, autobuild.ErrNotFound)
}
