package intake

import (
	"context"
	"errors"
	"sync"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/provider"
)

// keptFor is how long a webhook is used as it was read. For so long, a deleted webhook and a secret that was
// replaced twice are still accepted.
const keptFor = time.Second

// Limits of kept webhooks: their number, and the length of an id, which anyone can send.
const (
	maxKept   = 4096
	maxKeptID = 64
)

// A knownHook is a webhook with its provider's kind and size limit in bytes.
type knownHook struct {
	autobuild.Hook
	kind  autobuild.ProviderKind
	limit int       // 0 = not read yet
	until time.Time // it is read again after that
}

// keptHooks are the webhooks that were read last, so that a burst of deliveries does not read and decrypt
// the same webhook again and again. It is safe for concurrent use.
type keptHooks struct {
	mu   sync.Mutex
	byID map[string]knownHook
}

// get returns a webhook that was read within keptFor.
func (k *keptHooks) get(id string, now time.Time) (h knownHook, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	h, ok = k.byID[id]
	return h, ok && now.Before(h.until) && h.until.Sub(now) <= keptFor // the clock may be set back
}

// put keeps a webhook until its time ends, or until another one needs the place.
func (k *keptHooks) put(h knownHook) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(h.ID) > maxKeptID {
		return
	}
	for id := range k.byID { // any of them, because all end soon
		if len(k.byID) < maxKept {
			break
		}
		delete(k.byID, id)
	}
	k.byID[h.ID] = h
}

func (k *keptHooks) remove(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.byID, id)
}

// load reads a webhook from the database, and keeps it.
func (i *Intake) load(ctx context.Context, hookID string) (knownHook, error) {
	hook, err := i.o.Store.Hook(ctx, hookID)
	now := i.o.Now()
	if errors.Is(err, autobuild.ErrNotFound) {
		i.known.remove(hookID)
		i.absent.put(knownHook{Hook: autobuild.Hook{ID: hookID}, until: now.Add(keptFor)})
		return knownHook{}, err
	}
	if err != nil {
		return knownHook{}, err
	}
	known := knownHook{Hook: hook, until: now.Add(keptFor)}
	i.known.put(known)
	return known, nil
}

// withLimit returns a webhook with the limit of its provider. It is called after the signature is verified, so
// that a rejection takes the same time for a known webhook as for an unknown one.
func (i *Intake) withLimit(ctx context.Context, h knownHook) (knownHook, error) {
	if h.limit > 0 {
		return h, nil
	}
	p, err := retry(ctx, func() (autobuild.Provider, error) {
		return i.o.Store.Provider(ctx, h.Repository.ProviderID)
	})
	if err != nil {
		return knownHook{}, unavailable("load source provider of webhook "+h.ID, err)
	}
	h.kind = p.Kind
	if h.limit, err = provider.MaxPayload(p.Kind); err != nil {
		return knownHook{}, unavailable("find payload limit of webhook "+h.ID, err)
	}
	i.known.put(h)
	return h, nil
}

// secretsOf returns the secrets that are valid for a webhook now. There are always two, so that the
// time of a rejection does not show whether the webhook exists or its secret was replaced.
func (i *Intake) secretsOf(h knownHook, ok bool) []secret.Secret {
	switch {
	case !ok:
		return []secret.Secret{i.decoy, i.decoy}
	case i.o.Now().Before(h.PreviousUntil):
		return []secret.Secret{h.Secret, h.PreviousSecret}
	}
	return []secret.Secret{h.Secret, i.decoy}
}
