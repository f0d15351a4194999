package runner

import "context"

// A question is whether the registries take the login. A step goes on while it waits for the
// answer, for that may be far.
type question struct {
	enough   context.CancelFunc
	answered chan struct{}
	refusal  error // final once answered
}

// ask asks them.
func (r *standalone) ask(ctx context.Context) *question {
	ctx, enough := context.WithCancel(ctx)
	q := &question{enough: enough, answered: make(chan struct{})}
	go func() {
		defer close(q.answered)
		q.refusal = r.checkRegistry(ctx)
	}()
	return q
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
// the refusal where there was one in time, and the work's otherwise.
func (q *question) unlessRefused(ctx context.Context, work func(context.Context) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		if err := q.answer(); err != nil {
			stop(err)
		}
	}()
	if err := work(ctx); err != nil {
		return q.orElse(err)
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
