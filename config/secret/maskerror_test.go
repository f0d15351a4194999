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
		t.Errorf(`masked error: got %q, want "login with ******"`, got)
	}
	if !errors.Is(masked, cause) {
		t.Error("errors.Is(masked, cause): got false, want true")
	}
	if err := w.Redactor().MaskError(nil); err != nil {
		t.Errorf("MaskError(nil): got %v, want nil", err)
	}
}
