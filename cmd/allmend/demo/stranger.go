package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"

	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/forge"
	"github.com/allmend-network/allmend/verify/identity/keyfile"
)

// finding is one line of `allmend verify --json`.
type finding struct {
	Check  string `json:"check"`
	Result string `json:"result"`
	Detail string `json:"detail"`
}

const maxLine = 160 // characters of a line about a forgery

const refused = 1 // exit code of verify when something is not what it claims to be

// inspect lets a stranger, who has the run's ID and two folders and nothing
// else, check everything.
func (d *demo) inspect(ctx context.Context, evidence, shards string) error {
	answer, err := d.tool(ctx, "verify", "--json", "--run", d.report.Run, "--evidence", evidence, "--shards", shards)
	var failed *failure
	if err != nil && !errors.As(err, &failed) {
		return err
	}
	if failed != nil {
		answer = failed.output
	}
	found, err := findings(answer)
	if err != nil {
		return err
	}
	for _, f := range found {
		text := strings.TrimSpace(f.Check + "  " + f.Detail)
		d.tell("verify", f, fmt.Sprintf("  %-11s  %s", f.Result, text))
		if f.Result == "verified" {
			d.report.Verified = append(d.report.Verified, text)
		}
	}
	if failed != nil {
		d.check("verify", false, "%v", failed)
		return nil
	}
	d.check("verify", true, "a stranger with the run ID and the folders found nothing wrong in %d checks", len(d.report.Verified))
	return nil
}

func findings(answer []byte) ([]finding, error) {
	var all []finding
	for line := range bytes.Lines(answer) {
		var f finding
		if err := json.Unmarshal(line, &f); err != nil {
			return nil, fmt.Errorf("allmend verify: its answer cannot be read: %w", err)
		}
		all = append(all, f)
	}
	return all, nil
}

// forgeries damages and forges copies of the folders, each in one way. Each
// must be refused with the thing named.
func (d *demo) forgeries(ctx context.Context, evidence, shards string, cases []forge.Case) error {
	id, err := digest.Parse(d.report.Run)
	if err != nil {
		return err
	}
	stranger, err := keyfile.Generate(rand.Reader)
	if err != nil {
		return err
	}
	original := forge.Layout{Run: id, Evidence: evidence, Shards: shards, Stranger: stranger}
	tried := make([]chan attempt, len(cases))
	ctx, cancel := context.WithCancel(ctx)
	var working sync.WaitGroup
	defer working.Wait()
	defer cancel()
	places := make(chan struct{}, runtime.NumCPU())
	for i := range cases {
		tried[i] = make(chan attempt, 1)
		working.Go(func() {
			places <- struct{}{}
			said, err := d.try(ctx, original, cases[i])
			<-places
			tried[i] <- attempt{said, err}
		})
	}
	for i, c := range cases {
		a := <-tried[i]
		if a.err != nil {
			return fmt.Errorf("forgery %q: %w", c.Name, a.err)
		}
		d.report.Forgeries++
		d.tell("refused", struct {
			Forgery string `json:"forgery"`
			Said    string `json:"said"`
		}{c.Name, a.said}, cut(fmt.Sprintf("  refused  %-44s %s", c.Name, a.said), maxLine))
	}
	d.check("forgeries", true, "%d of %d refused, each with the thing named", d.report.Forgeries, len(cases))
	return nil
}

// attempt is how a forgery fared.
type attempt struct {
	said string
	err  error
}

// try forges a copy and returns how it was refused.
func (d *demo) try(ctx context.Context, original forge.Layout, c forge.Case) (said string, err error) {
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	dir, err := os.MkdirTemp(d.dir, "forged-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	copied, err := original.Copy(dir)
	if err != nil {
		return "", err
	}
	want, err := c.Apply(copied)
	if err != nil {
		return "", err
	}
	args := []string{"verify", c.Check, "--json", "--run", original.Run.String(), "--evidence", copied.Evidence}
	if c.Check == "shards" {
		args = append(args, "--shards", copied.Shards)
	}
	answer, err := d.tool(ctx, args...)
	var failed *failure
	if err == nil {
		return "", fmt.Errorf("it was taken for genuine: %s", answer)
	}
	if !errors.As(err, &failed) || failed.code != refused {
		return "", err
	}
	found, err := findings(failed.output)
	if err != nil {
		return "", err
	}
	for _, f := range found {
		if f.Result == "failed" && strings.Contains(f.Detail, want) {
			return strings.ReplaceAll(f.Detail, dir+string(os.PathSeparator), ""), nil
		}
	}
	return "", fmt.Errorf("it was refused, but nothing names %q: %s", want, failed.output)
}
