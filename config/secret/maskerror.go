package secret

// A maskedError is an error whose text has stars in the place of secrets.
type maskedError struct {
	err  error
	text string
}

func (e *maskedError) Error() string { return e.text }

// Unwrap returns the error with its own text: errors.Is and errors.As find the wrapped errors.
func (e *maskedError) Unwrap() error { return e.err }

// MaskError masks the text of an error. Mask it before the text is cut: a part of a secret would not
// be found any more. MaskError(nil) is nil.
func (r *Redactor) MaskError(err error) error {
	if err == nil {
		return nil
	}
	return &maskedError{err: err, text: string(r.Mask([]byte(err.Error())))}
}

// Redactor returns the redactor of the next Write, with the secrets that Hide added.
func (w *Writer) Redactor() *Redactor {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.scan.redactor
}
