package main

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"slipway/config/must"
)

func TestRunServesUntilItsInputEnds(t *testing.T) {
	in, closeInput := io.Pipe()
	printed, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- run(t.Context(), []string{"-request-limit", "1"}, in, out) }()
	var world World
	must.Succeed(t, json.NewDecoder(printed).Decode(&world))
	for i, want := range []int{http.StatusOK, http.StatusTooManyRequests} {
		request, err := http.NewRequestWithContext(
			t.Context(),
			"GET",
			world.URL+"/2.0/repositories/"+world.Repository,
			nil,
		)
		must.Succeed(t, err)
		request.Header.Set("Authorization", "Bearer "+world.Token)
		response, err := http.DefaultClient.Do(request)
		must.Succeed(t, err)
		_ = response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("request %d: got %d, want %d", i+1, response.StatusCode, want)
		}
	}
	must.Succeed(t, closeInput.Close())
	if err := <-ended; err != nil {
		t.Errorf("run: got error %v, want none", err)
	}
	if err := run(t.Context(), []string{"-unknown"}, in, io.Discard); err == nil {
		t.Error("an unknown flag: got no error, want one")
	}
}
