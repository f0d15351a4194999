package runner

import (
	"context"
	"errors"
)

// A question is whether the registries take the logins. A step goes on while it waits for the
// answer, for that may be far.
type question struct {
	enough   context.CancelFunc
	entered  chan struct{} // closed when it is known whether the logins are that no image is pushed by
	stranger error         // that one is not; final once entered
	answered chan struct{}
	refusal  error // final once answered
}

// ask asks them.
func (r *standalone) ask(ctx context.Context) *question {
	ctx, enough := context.WithCancel(ctx)
	q := &question{enough: enough, entered: make(chan struct{}), answered: make(chan struct{})}
	go func() {
		defer close(q.answered)
		q.stranger = r.checkLogins(ctx)
		close(q.entered)
		q.refusal = errors.Join(q.stranger, r.checkImages(ctx))
	}()
	return q
}

// others waits for the answer of logins that no image is pushed by: no push is going to give it.
func (q *question) others() error {
	<-q.entered
	return q.stranger
}

// answer waits for it.
func (q *question) answer() error {
	<-q.answered
	return q.refusal
}

// leave forgets it.
func (q *question) leave() {
	q.enough()
	<-q.answered
}

// unlessRefused does what is of use only if the answer is yes, and ends it at a no. Its error is
// the refusal where there was one in time, and the work's otherwise. Work that has pushed the
// image needs no answer any more: who was let in is not asked whether he may enter.
func (q *question) unlessRefused(ctx context.Context, work func(context.Context) (pushed bool, err error)) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		if err := q.answer(); err != nil {
			stop(err)
		}
	}()
	pushed, err := work(ctx)
	switch {
	case err != nil:
		return q.orElse(err)
	case pushed:
		q.enough()
		return nil
	}
	return q.answer()
}

// orElse is the refusal, if there is one by now, or else err.
func (q *question) orElse(err error) error {
	select {
	case <-q.answered:
		if q.refusal != nil {
			return q.refusal
		}
	default:
	}
	return err
}
