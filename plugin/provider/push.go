package provider

import (
	"fmt"

	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/webhook"
)

// MaxPayload returns the maximum size of a delivery that ParsePush reads, in bytes.
func MaxPayload(kind autobuild.ProviderKind) (int, error) {
	f, err := flavorOf(kind)
	if err != nil {
		return 0, err
	}
	return f.MaxBody(), nil
}

// ParsePush parses the body of a delivery with a verified signature. Its errors name the position
// in the payload. An event that Slipway does not use yields Push.Ignored and no error. ParsePush
// has no side effects.
func ParsePush(kind autobuild.ProviderKind, event string, body []byte) (autobuild.Push, error) {
	flavor, err := flavorOf(kind)
	if err != nil {
		return autobuild.Push{}, err
	}
	e, err := webhook.Parse(flavor, event, body)
	if err != nil {
		return autobuild.Push{}, err
	}
	push := autobuild.Push{
		Event:      e.Event,
		Repository: autobuild.Repository{ID: e.Repository.UUID, FullName: e.Repository.FullName},
		Skipped:    e.Skipped,
		Ignored:    e.Ignored,
	}
	if flavor == webhook.DataCenter {
		push.Repository.ID = e.Repository.ID
	}
	for _, c := range e.Changes {
		push.Changes = append(push.Changes, changeOf(c))
	}
	return push, nil
}

func changeOf(c webhook.Change) autobuild.Change {
	return autobuild.Change{
		Kind:    autobuild.RefKind(c.Kind),
		Name:    c.Name,
		Action:  autobuild.Action(c.Action),
		Old:     c.Old,
		Commit:  c.Commit,
		Message: c.Message,
		Source:  c.Source,
		Target:  c.Target,
		Fork:    c.Fork,
	}
}

func flavorOf(kind autobuild.ProviderKind) (webhook.Flavor, error) {
	switch kind {
	case autobuild.Cloud:
		return webhook.Cloud, nil
	case autobuild.DataCenter:
		return webhook.DataCenter, nil
	}
	return "", fmt.Errorf("no provider kind %q: it is %s or %s", kind, autobuild.Cloud, autobuild.DataCenter)
}
