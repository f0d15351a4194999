package secret_test

import (
	"errors"
	"io"
	"testing"

	"slipway/config/secret"
)

func TestMaskErrorKeepsTheCause(t *testing.T) {
	w := secret.NewRedactor().NewWriter(io.Discard)
	w.Hide(secret.New("canary"))
	cause := errors.New("login with canary")
	masked := w.Redactor().MaskError(cause)
	if got := masked.Error(); got != "login with ******" {
		t.Errorf("got %q", got)
	}
	if !errors.Is(masked, cause) {
		t.Error("errors.Is does not find the cause")
	}
	if err := w.Redactor().MaskError(nil); err != nil {
		t.Errorf("no error: got %v", err)
	}
}
