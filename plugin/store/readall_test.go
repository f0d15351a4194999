package store_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
	"slipway/plugin/store/storetest"
)

// readAll returns all values that the store's functions read, one a line, sorted:
//
//	hooks g6dpf7wqymcapjcdv5wpjdge3u .Secret = "hook secret"
//
// A line does not depend on other rows.
func readAll(t *testing.T, s *store.Store) []string {
	t.Helper()
	r := &reading{t: t, store: s}
	r.people()
	r.configuration()
	r.builds()
	r.pushes()
	r.others() // it changes rows
	slices.Sort(r.lines)
	return slices.Compact(r.lines)
}

type reading struct {
	t     *testing.T
	store *store.Store
	lines []string
}

func (r *reading) people() {
	ctx := r.t.Context()
	users, err := r.store.Users(ctx)
	must.Succeed(r.t, err)
	for _, u := range users {
		r.add("users "+u.ID, u)
		at, err := r.store.PermissionsAt(ctx, u.ID)
		must.Succeed(r.t, err)
		r.add("users "+u.ID+" permissions at", at)
		repositories, err := r.store.Repositories(ctx, "cloud")
		must.Succeed(r.t, err)
		for _, one := range repositories {
			p, err := r.store.Permission(ctx, autobuild.Viewer{UserID: u.ID}, one)
			r.add("permissions "+u.ID+" "+one.ID, found(r.t, p, err))
		}
		id := "session-" + u.Name
		se, err := r.store.Session(ctx, id)
		r.add("sessions "+id, found(r.t, se, err))
	}
	form, err := r.store.FormResult(ctx, "session-admin", "form-of-version-14")
	if errors.Is(err, autobuild.ErrNotFound) {
		return // an earlier version than 14
	}
	must.Succeed(r.t, err)
	r.add("forms", form)
	_, location, err := r.store.BeginForm(ctx, "session-admin", "form-of-version-14", r.store.Now().Add(time.Hour))
	must.Succeed(r.t, err)
	r.add("forms location", location)
}

// others reads the tables whose rows are only asked for one fact.
func (r *reading) others() {
	ctx := r.t.Context()
	id, err := r.store.InstanceID(ctx)
	must.Succeed(r.t, err)
	r.add("instance", id)
	main := autobuild.Ref{Kind: autobuild.Branch, Name: "main"}
	was, err := r.store.HasTransitionTo(ctx, storetest.Repository("app"), main, storetest.Commit(2))
	must.Succeed(r.t, err)
	r.add("transitions", was)
	move := autobuild.Transition{Ref: main, Old: storetest.Commit(1), New: storetest.Commit(2)}
	seen, err := r.store.TransitionSeen(ctx, move)
	must.Succeed(r.t, err)
	r.add("answered_moves", seen)
	held, err := r.store.Held(ctx, "leader")
	must.Succeed(r.t, err)
	r.add("leases", held)
	waiting, _, err := r.store.Tasks().Depth(ctx, autobuild.TaskReport)
	must.Succeed(r.t, err)
	r.add("tasks", waiting)
	flow, err := r.store.TakeOAuthFlow(ctx, "state")
	must.Succeed(r.t, err)
	r.add("oauth_flows", flow)
	_, err = r.store.TakeFirstToken(ctx, "first-hash")
	r.add("first_tokens", found(r.t, "taken", err))
	_, holder, err := r.store.Permit(ctx, "3y7sdqx5jv2q3r6nfrwwheqchy", 1, []string{"latest"}, nil)
	must.Succeed(r.t, err)
	r.add("permits", holder.Number)
	b, _, err := r.store.CreateBuild(ctx, autobuild.Build{
		Repository: storetest.Repository("app"), Ref: main, Cause: autobuild.CauseManual,
	})
	must.Succeed(r.t, err)
	r.add("counters", b.Number)
}

func (r *reading) configuration() {
	ctx := r.t.Context()
	providers, err := r.store.Providers(ctx)
	must.Succeed(r.t, err)
	for _, p := range providers {
		r.add("providers "+p.ID, p)
	}
	accounts, err := r.store.Accounts(ctx)
	must.Succeed(r.t, err)
	for _, a := range accounts {
		r.add("accounts "+a.ID, a)
	}
	registries, err := r.store.Registries(ctx)
	must.Succeed(r.t, err)
	for _, one := range registries {
		r.add("registries "+one.ID, one)
	}
	hooks, err := r.store.Hooks(ctx)
	must.Succeed(r.t, err)
	for _, h := range hooks {
		r.add("hooks "+h.ID, h)
	}
	automated, err := r.store.AutomatedBuilds(ctx)
	must.Succeed(r.t, err)
	for _, a := range automated {
		r.add("automated_builds "+a.ID, a)
		token, err := r.store.PipelineToken(ctx, a.ID)
		r.add("pipeline_tokens "+a.ID, found(r.t, token, err))
		back, err := r.store.ReappearedRefs(ctx, a.ID)
		must.Succeed(r.t, err)
		for _, ref := range back {
			r.add("reappeared_refs "+ref.Ref.Name, ref)
		}
	}
	value, err := r.store.KnownExtensionSecret(ctx, "woodpecker", "config")
	must.Succeed(r.t, err)
	r.add("extension_secrets", value)
}

func (r *reading) builds() {
	ctx := r.t.Context()
	builds, err := r.store.Builds(ctx, autobuild.BuildFilter{Limit: 100})
	must.Succeed(r.t, err)
	for _, b := range builds {
		r.add("builds "+b.ID, b)
		attempts, err := r.store.Attempts(ctx, b.ID)
		must.Succeed(r.t, err)
		for _, a := range attempts {
			r.add(fmt.Sprint("attempts ", b.ID, " ", a.Number), a)
			text, err := r.store.ReadLog(ctx, b.ID, a.Number, 0, 100)
			r.add("logs "+b.ID, found(r.t, string(text), err))
		}
		reported, err := r.store.Reported(ctx, b.ID)
		r.add("reports "+b.ID, found(r.t, reported, err))
		account, err := r.store.AccountOf(ctx, b.ID)
		must.Succeed(r.t, err)
		r.add("builds "+b.ID+" account", account)
		for _, token := range attempts {
			byNonce, err := r.store.AttemptByNonce(ctx, "nonce-"+b.ID)
			r.add("attempts by nonce "+token.BuildID, found(r.t, byNonce, err))
		}
	}
}

func (r *reading) pushes() {
	ctx := r.t.Context()
	deliveries, err := r.store.Deliveries(ctx, autobuild.DeliveryFilter{Limit: 100})
	must.Succeed(r.t, err)
	for _, d := range deliveries {
		full, err := r.store.Delivery(ctx, d.ID)
		must.Succeed(r.t, err)
		r.add("deliveries "+d.ID, full)
		r.add("deliveries "+d.ID+" body", string(full.Body))
	}
	repositories, err := r.store.Repositories(ctx, "cloud")
	must.Succeed(r.t, err)
	for _, one := range repositories {
		r.add("repositories "+one.ID, one)
		states, err := r.store.RefStates(ctx, one)
		must.Succeed(r.t, err)
		for ref, state := range states {
			r.add("refs "+one.ID+" "+ref.Name, state)
		}
	}
}

// found returns a value, or "none" if it does not exist.
func found(t *testing.T, value any, err error) any {
	t.Helper()
	if err != nil {
		return "none: " + strings.TrimSpace(err.Error())
	}
	return value
}

// add adds a line for each field of a value.
func (r *reading) add(name string, value any) {
	switch value := value.(type) {
	case secret.Secret:
		r.lines = append(r.lines, fmt.Sprintf("%s = secret %q", name, value.Reveal()))
		return
	case time.Time:
		r.lines = append(r.lines, fmt.Sprintf("%s = %s", name, value.UTC().Format(time.RFC3339)))
		return
	case []byte:
		return // a body is compared as text
	}
	v := reflect.ValueOf(value)
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			r.add(name+" ."+v.Type().Field(i).Name, v.Field(i).Interface())
		}
	case reflect.Slice:
		for i := range v.Len() {
			r.add(fmt.Sprintf("%s [%d]", name, i), v.Index(i).Interface())
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			r.add(fmt.Sprintf("%s [%v]", name, key), v.MapIndex(key).Interface())
		}
	default:
		r.lines = append(r.lines, fmt.Sprintf("%s = %#v", name, value))
	}
}
