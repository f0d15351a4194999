package drone_test

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

// controls sets the actions of a person on a Drone server, who has this token.
func controls(ci *enginetest.CI, server string, token secret.Secret) {
	ci.Engine, ci.Inspected = "drone", []string{"245 minutes"}
	call := func(ctx context.Context, method, path string, in any) error {
		sent, err := json.Marshal(in)
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, method, server+"/api/repos/"+path, bytes.NewReader(sent))
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+token.Reveal())
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode >= http.StatusBadRequest {
			body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
			return fmt.Errorf("%s %s: %s: %s, %w", method, path, resp.Status, body, err)
		}
		return nil
	}
	ci.SetTimeout = func(ctx context.Context, fullName string, minutes int64) error {
		return call(ctx, http.MethodPatch, fullName, map[string]any{"timeout": minutes})
	}
	ci.CancelAsPerson = func(ctx context.Context, fullName string, number int64) error {
		return call(ctx, http.MethodDelete, fmt.Sprintf("%s/builds/%d", fullName, number), nil)
	}
}
