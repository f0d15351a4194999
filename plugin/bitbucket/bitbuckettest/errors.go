package bitbuckettest

import (
	"encoding/json"
	"errors"
	"net/http"
)

// An object is a JSON object of the API. It is a map because Bitbucket distinguishes absent keys from
// nulls.
type object map[string]any

// An apiError is an error in Bitbucket's documented format:
// https://developer.atlassian.com/cloud/bitbucket/rest/intro/#standardized-error-responses
type apiError struct {
	status  int
	message string
	detail  any
	fields  map[string][]string
	data    any
	outside bool // data is also beside the error, as for missing commits
}

func (e *apiError) Error() string { return e.message }

func (e *apiError) body() object {
	inner := object{"message": e.message}
	if e.detail != nil {
		inner["detail"] = e.detail
	}
	if e.fields != nil {
		inner["fields"] = e.fields
	}
	if e.data != nil {
		inner["data"] = e.data
	}
	body := object{"type": "error", "error": inner}
	if e.outside {
		body["data"] = e.data
	}
	return body
}

func notFound(message string) error {
	return &apiError{status: http.StatusNotFound, message: message}
}

func forbidden(message string) error {
	return &apiError{status: http.StatusForbidden, message: message}
}

func unauthorized(message string) error {
	return &apiError{status: http.StatusUnauthorized, message: message}
}

func badRequest(message string) error {
	return &apiError{status: http.StatusBadRequest, message: message}
}

// invalid returns a 400 error about one field.
func invalid(field, problem string) error {
	return &apiError{
		status: http.StatusBadRequest, message: field + ": " + problem,
		fields: map[string][]string{field: {problem}},
	}
}

// noCommit returns the error for a revision without a commit. Hashes have another text than names:
// https://github.com/zarplata/concourse-git-bitbucket-pr-resource/issues/57 and test_get_commit_not_found in
// https://github.com/codecov/shared/tree/main/tests/integration/cassetes/test_bitbucket.
func noCommit(revision string) error {
	if !isHex(revision) {
		return notFound("Changeset not found.")
	}
	return &apiError{
		status: http.StatusNotFound, message: "Commit not found",
		data: object{"shas": []string{revision}}, outside: true,
	}
}

// statusTooDeep is Bitbucket's status for a listing or a diff that takes too long.
const statusTooDeep = 555

// gone handles the calls that were removed in April 2026:
// https://developer.atlassian.com/cloud/bitbucket/changelog#CHANGE-2770
func (s *Server) gone(*call) error {
	return &apiError{
		status: http.StatusGone, message: "CHANGE-2770 - Functionality has been deprecated",
		detail: "Please read the changelog entry for more details.",
		data:   object{"announcement_url": "https://developer.atlassian.com/cloud/bitbucket/changelog#CHANGE-2770"},
	}
}

// noSuchAPI handles every other path below /2.0/.
func (s *Server) noSuchAPI(*call) error {
	return &apiError{
		status:  http.StatusNotFound,
		message: "Resource not found",
		detail: "There is no API hosted at this URL.\n\nFor information about our API's, please refer to the " +
			"documentation at: https://developer.atlassian.com/bitbucket/api/2/reference/",
	}
}

// writeError writes an error of the API. Errors that are no apiError become a 500.
func (s *Server) writeError(w http.ResponseWriter, r *http.Request, err error) {
	var known *apiError
	if !errors.As(err, &known) {
		s.options.Log.WithError(err).WithField("path", r.URL.Path).Error("bitbuckettest: call failed")
		known = &apiError{status: http.StatusInternalServerError, message: "Something went wrong"}
	}
	writeJSON(w, known.status, known.body())
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
	}
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(v) // an error means that the client has gone
}
