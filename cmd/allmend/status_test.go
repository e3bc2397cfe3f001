package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/allmend-network/allmend/coordinator/state"
)

func TestStatusServer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	current := func() statusResult {
		return statusResult{Name: "alpine", Status: state.Running, Round: 7, Members: []memberResult{{}, {Expired: "no report for 6s"}}}
	}
	at, done, err := serveStatus(ctx, "127.0.0.1:0", slog.New(slog.DiscardHandler), current)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/status":  `"name":"alpine","status":"running"`,
		"/metrics": "allmend_members{standing=\"out\"} 1\n",
	} {
		response, err := http.Get("http://" + at + path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(b), want) {
			t.Errorf("%s: %s, %v, want %s in %s", path, response.Status, err, want, b)
		}
	}
	cancel()
	<-done

	_, _, err = serveStatus(t.Context(), "0.0.0.0:0", slog.New(slog.DiscardHandler), current)
	if !errors.As(err, new(usageError)) {
		t.Errorf("served on all addresses: %v", err)
	}
}
