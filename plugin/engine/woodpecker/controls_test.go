package woodpecker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"slipway/config/secret"
	"slipway/plugin/engine/enginetest"
)

// fakeMinute is the duration of a minute of the fake server's timeouts.
const fakeMinute = 6 * time.Second

// controls sets the actions of a person on a Woodpecker server, who has this token.
func controls(ci *enginetest.CI, server string, token secret.Secret) {
	ci.Engine = "woodpecker"
	ci.Inspected = []string{"set on acme/builder alone", "builds do not cancel each other", "245 minutes"}
	person := api{server, token}
	ci.SetTimeout = func(ctx context.Context, fullName string, minutes int64) error {
		return person.patch(ctx, fullName, map[string]any{"timeout": minutes})
	}
	ci.CancelAsPerson = func(ctx context.Context, fullName string, number int64) error {
		id, err := person.idOf(ctx, fullName)
		if err != nil {
			return err
		}
		_, err = person.call(ctx, http.MethodPost, fmt.Sprintf("/api/repos/%d/pipelines/%d/cancel", id, number), nil)
		return err
	}
}

// api is the API of a Woodpecker server for one user.
type api struct {
	server string
	token  secret.Secret
}

func (a api) idOf(ctx context.Context, fullName string) (int64, error) {
	body, err := a.call(ctx, http.MethodGet, "/api/repos/lookup/"+fullName, nil)
	var r struct{ ID int64 }
	if err == nil {
		err = json.Unmarshal(body, &r)
	}
	return r.ID, err
}

func (a api) patch(ctx context.Context, fullName string, change map[string]any) error {
	id, err := a.idOf(ctx, fullName)
	if err != nil {
		return err
	}
	_, err = a.call(ctx, http.MethodPatch, fmt.Sprintf("/api/repos/%d", id), change)
	return err
}

func (a api) call(ctx context.Context, method, path string, in any) ([]byte, error) {
	sent, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, a.server+path, bytes.NewReader(sent))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+a.token.Reveal())
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, body)
	}
	return body, err
}
