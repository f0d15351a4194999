package pages

import (
	"errors"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"slipway/plugin/autobuild"
	"slipway/plugin/catalog"
	"slipway/plugin/web/httpx"
)

// parseForm reads a posted form. Middleware limits its size.
func parseForm(c *gin.Context) error {
	err := c.Request.ParseForm()
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return &httpx.Error{
			Status:  http.StatusRequestEntityTooLarge,
			Message: "The form is too large. Make its fields shorter.",
			Err:     err,
		}
	case err != nil:
		return &httpx.Error{
			Status:  http.StatusBadRequest,
			Message: "The form could not be read. Open its page and send it again.",
			Err:     err,
		}
	}
	return nil
}

// accountKind returns the display name of a kind of account.
func accountKind(k autobuild.AccountKind) string {
	switch k {
	case autobuild.AccountOAuth:
		return "linked through OAuth"
	case autobuild.AccountWorkspaceToken:
		return "workspace access token"
	case autobuild.AccountProjectToken:
		return "project access token"
	case autobuild.AccountRepositoryToken:
		return "repository access token"
	}
	return string(k)
}

// faults are the invalid fields of a form. The page shows them at their fields and in a summary.
type faults []autobuild.FieldError

func (f *faults) add(field, message string) {
	*f = append(*f, autobuild.FieldError{Field: field, Message: message})
}

// At returns the message for a field, or for an item of it, or "".
func (f faults) At(field string) string {
	for _, e := range f {
		item, of := strings.CutPrefix(e.Field, field)
		if of && (item == "" || isIndex(item)) {
			return sentence(e.Message)
		}
	}
	return ""
}

// isIndex reports whether the end of a field's name is one index and no more, e.g. "[1]". The end of
// rules[0].platforms[1] after "rules" is none.
func isIndex(end string) bool {
	return strings.HasPrefix(end, "[") && strings.IndexByte(end, ']') == len(end)-1
}

// fieldID returns the id of a field's control: rules[0].source becomes rules-0-source. An item of a list has the
// control of the list: rules[0].platforms[1] becomes rules-0-platforms.
func fieldID(field string) string {
	if list, item, ok := strings.Cut(field, "]."); ok && strings.HasSuffix(item, "]") {
		item, _, _ = strings.Cut(item, "[")
		field = list + "]." + item
	}
	return strings.NewReplacer("[", "-", "].", "-", "]", "", ".", "-").Replace(field)
}

// faultsOf returns the invalid fields of an error. These are the fields of *catalog.Invalid, or the
// given field for an error of the provider or registry. It returns nil for internal errors.
func faultsOf(err error, field string) faults {
	var invalid *catalog.Invalid
	var one autobuild.FieldError
	var known *httpx.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &invalid):
		return invalid.Fields
	case errors.As(err, &one):
		return faults{one}
	case errors.As(err, &known) && known.Status < 500:
		return faults{{Field: field, Message: known.Message}}
	}
	for _, response := range []struct {
		err     error
		message string
	}{
		{autobuild.ErrNotFound, "not found at the provider"},
		{autobuild.ErrUnauthorized, "the provider no longer accepts the account: link it again under Settings → Source " +
			"providers"},
		{autobuild.ErrForbidden, "the account may not do this at the provider"},
		{autobuild.ErrUnavailable, "the provider does not respond: try again"},
		{autobuild.ErrRemoved, "the provider removed the API that this needs"},
	} {
		if errors.Is(err, response.err) {
			return faults{{Field: field, Message: response.message}}
		}
	}
	return nil
}
