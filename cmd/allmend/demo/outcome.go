package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/trainer/checkpoint"
	"github.com/allmend-network/allmend/verify"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
)

const (
	maxGenerate = 40 // tokens

	// What training must reach on held-back pages, in nats a token.
	startTolerance = 0.1 // around ln V
	belowUnigram   = 0.3
	maxMemory      = 3 << 30 // bytes, over all processes
)

// tokenizer shows what was learnt.
func (d *demo) tokenizer(ctx context.Context) error {
	folder, err := shards.OpenFolder(d.path("shards"))
	if err != nil {
		return err
	}
	defer folder.Close()
	words, err := readTokenizer(ctx, folder)
	if err != nil {
		return err
	}
	texts, err := decode(ctx, folder)
	if err != nil {
		return err
	}
	bytes := 0
	for _, t := range texts {
		bytes += len(t)
	}
	d.report.Losses.Vocabulary = math.Log(float64(words.VocabSize()))
	d.say("byte-level BPE of %s tokens, as Hugging Face writes it; %.2f bytes a token on these texts", thousands(int64(words.VocabSize())), float64(bytes)/float64(d.built.Tokens))
	return nil
}

// finish fetches the evidence while members still serve it, and waits for every
// process to end by itself.
func (s *swarm) finish(ctx context.Context) error {
	args := []string{"run", "fetch", "--json", "--run", s.id, "--out", s.path("evidence")}
	for _, p := range s.everyone() {
		args = append(args, "--peer", p.multiaddr())
	}
	answer, err := s.tool(ctx, args...)
	if err != nil {
		return err
	}
	var got struct {
		Records     uint64   `json:"records"`
		Checkpoints []uint64 `json:"checkpoints"`
		Vectors     int      `json:"vectors"`
		Missing     []string `json:"missing"`
	}
	if err := json.Unmarshal(answer, &got); err != nil {
		return fmt.Errorf("allmend run fetch: its answer cannot be read: %w", err)
	}
	s.say("fetched the evidence over libp2p: %d records, checkpoints of rounds %s, %d reduced vectors", got.Records, strings.Trim(strings.ReplaceAll(fmt.Sprint(got.Checkpoints), " ", ", "), "[]"), got.Vectors)
	s.check("evidence", len(got.Missing) == 0, "nothing of it is missing%s", strings.Join(append([]string{""}, got.Missing...), "; "))
	for _, n := range s.nodes {
		n.ask() // they stayed to serve the evidence
	}
	if err := s.ended(ctx); err != nil {
		return err
	}
	return s.recall(ctx)
}

// ended waits until every process has ended and says how.
func (s *swarm) ended(ctx context.Context) error {
	well := 0
	for _, p := range s.everyone() {
		select {
		case <-p.done:
		case <-time.After(graceful):
			s.say("%s is still there", p.name)
			p.stop()
			continue
		case <-ctx.Done():
			return ctx.Err()
		}
		if p.err != nil {
			s.say("%s: %v; the last it said: %s", p.name, p.err, s.lastWords(p.name))
			continue
		}
		well++
	}
	s.check("ends", well == len(s.everyone()), "%d of %d processes ended with exit code 0: coordinators by themselves, nodes when nobody wanted the evidence any more", well, len(s.everyone()))
	return nil
}

// checkpoint shows the folder that was trained for, and lets it write.
func (s *swarm) checkpoint(ctx context.Context) error {
	dir := s.path(s.report.Checkpoint)
	m, err := checkpoint.ReadSignatures(dir)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var files []string
	for _, e := range entries {
		files = append(files, e.Name())
	}
	s.say("%s", dir)
	s.say("%s", strings.Join(files, ", "))
	s.say("signed by %d members and %d coordinators", len(m.Members), len(m.Coordinators))
	return s.generate(ctx, dir)
}

// recall reads the run's log from the evidence and holds it against what the
// demo did: samples, states, losses.
func (s *swarm) recall(ctx context.Context) error {
	id, err := digest.Parse(s.id)
	if err != nil {
		return err
	}
	e, err := verify.Open(id, s.path("evidence"))
	if err != nil {
		return err
	}
	c, err := recountLog(e)
	if err != nil {
		s.check("samples", false, "%v", err)
	} else {
		s.check("samples", true, "%s samples trained on, none twice, none lost; %d more were dealt to a node that died, and came back", thousands(int64(c.Samples)), c.Returned)
	}
	r := &s.report
	r.Checkpoint = filepath.Join("evidence", verify.CheckpointDir(lastCheckpoint(e)))
	r.Rounds, r.Tokens, r.Losses.First, r.Losses.Last = uint64(c.Rounds), c.Tokens, c.First, c.Last
	r.Members = len(contributors(e))
	s.check("loss", c.Last < c.First, "%.3f in the first round, %.3f in the last", c.First, c.Last)
	s.sameState(e)
	return s.heldBack(ctx, e)
}

// contributors lists who took part in any round.
func contributors(e *verify.Evidence) []identity.Address {
	var all []identity.Address
	for _, r := range e.Rounds {
		for _, a := range r.Closed.Contributors {
			if !slices.Contains(all, a) {
				all = append(all, a)
			}
		}
	}
	return all
}

// lastCheckpoint returns the last round of which there is a signed checkpoint.
func lastCheckpoint(e *verify.Evidence) uint64 {
	var last uint64
	for round := range e.Checkpoints {
		last = max(last, round)
	}
	return last
}

// heldBack scores the pages that nobody trained on, where there are any.
func (s *swarm) heldBack(ctx context.Context, e *verify.Evidence) error {
	if len(s.Inputs) > 0 {
		return nil
	}
	h, err := readHeldBack(ctx, s.path("heldback"), sequenceLength)
	if err != nil {
		return err
	}
	l := &s.report.Losses
	first, vocabulary, err := h.score(s.path("run", verify.CheckpointDir(0)))
	if err != nil {
		return err
	}
	last, _, err := h.score(s.path("evidence", verify.CheckpointDir(lastCheckpoint(e))))
	if err != nil {
		return err
	}
	l.HeldTokens, l.HeldUnigram, l.HeldFirst, l.HeldLast, l.Vocabulary = h.tokens, h.unigram, first, last, math.Log(float64(vocabulary))
	s.check("first loss", math.Abs(first-l.Vocabulary) < startTolerance, "%.3f on held-back pages before training, ln V = %.3f", first, l.Vocabulary)
	if s.Rounds >= defaultRounds {
		s.check("last loss", last < h.unigram-belowUnigram, "%.3f on held-back pages after training, %.2f below their unigram entropy of %.3f (at least %.1f wanted)", last, h.unigram-last, h.unigram, belowUnigram)
	} else {
		s.check("last loss", last < first, "%.3f on held-back pages after training; their unigram entropy is %.3f (%d rounds, too few to ask for more than a fall)", last, h.unigram, s.Rounds)
	}
	return nil
}

// generate lets the trained model write a line, by the command for it.
func (s *swarm) generate(ctx context.Context, checkpoint string) error {
	prompt := "The"
	if len(s.Inputs) == 0 {
		prompt = "In spring, the"
	}
	answer, err := s.tool(ctx, "generate", "--json", "--checkpoint", checkpoint, "--prompt", prompt, "--tokens", fmt.Sprint(maxGenerate))
	if err != nil {
		return err
	}
	var g struct {
		Text string `json:"text"`
	}
	if err := json.Unmarshal(answer, &g); err != nil {
		return fmt.Errorf("allmend generate: its answer cannot be read: %w", err)
	}
	s.report.Prompt, s.report.Text = prompt, g.Text
	s.say("it writes, given %q: %q", prompt, strings.Join(strings.Fields(g.Text), " "))
	return nil
}

// sameState holds what every member said of the last state against each other.
func (s *swarm) sameState(e *verify.Evidence) {
	round := lastCheckpoint(e)
	want, same := e.Checkpoints[round].State, 0
	detail := ""
	for _, n := range s.nodes {
		got, err := finalState(s.path(n.name), round)
		switch {
		case err != nil:
			detail += fmt.Sprintf("; %s: %v", n.name, err)
		case got != want:
			detail += fmt.Sprintf("; %s holds %s", n.name, got.Short())
		default:
			same++
		}
	}
	s.check("one state", same == len(s.nodes), "%d of %d members hold the state %s on their disks after round %d%s", same, len(s.nodes), want.Short(), round, detail)
}

// finalState returns the state root of a member's own checkpoint of a round,
// computed from its bytes.
func finalState(dir string, round uint64) (digest.Sum, error) {
	found, err := filepath.Glob(filepath.Join(dir, "checkpoints", fmt.Sprintf("%d-*", round)))
	if err != nil {
		return digest.Sum{}, err
	}
	if len(found) != 1 {
		return digest.Sum{}, fmt.Errorf("%s holds %d checkpoints of round %d, want one: %w", dir, len(found), round, os.ErrNotExist)
	}
	state, _, _, err := checkpoint.Read(found[0])
	if err != nil {
		return digest.Sum{}, err
	}
	return state.Root(), nil
}

// next returns three commands to go on with, as they can be typed here.
func (d *demo) next() []string {
	if !d.kept() {
		return []string{
			d.command("demo", "--keep"),
			d.command("demo", "--input", "FILE", "--dir", "DIR"),
			d.command("--help"),
		}
	}
	return []string{
		d.command("generate", "--checkpoint", d.path(d.report.Checkpoint), "--prompt", `"In spring, the"`),
		d.command("verify", "--run", d.report.Run, "--evidence", d.path("evidence"), "--shards", d.path("shards")),
		d.command("shards", "inspect", d.path("shards"), "--decode", "1"),
	}
}

// command writes a command of this binary. One that `go run` built is gone
// when the demo has ended.
func (d *demo) command(args ...string) string {
	program := d.Self
	if found, err := exec.LookPath(filepath.Base(d.Self)); err == nil && found == d.Self {
		program = filepath.Base(d.Self)
	} else if strings.Contains(d.Self, "go-build") {
		program = "go run ./cmd/allmend"
	}
	return program + " " + strings.Join(args, " ")
}

// end prints the report.
func (d *demo) end() error {
	r := &d.report
	r.Folder, r.Kept = d.dir, d.kept()
	r.Seconds, r.PeakBytes = since(d.began), d.peak
	d.check("memory", d.peak <= maxMemory, "%d MiB at most over all processes together", d.peak>>20)
	made := []artifact{{"shards", "shards"}, {"run", "run"}, {"checkpoint", r.Checkpoint}, {"evidence", "evidence"}, {"what they said", "logs"}}
	if !r.Kept {
		made = nil
	}
	for _, a := range made {
		r.Artifacts = append(r.Artifacts, artifact{a.What, filepath.Join(d.dir, a.Path)})
	}
	r.Next = d.next()
	r.OK = true
	var failed []string
	for _, c := range r.Checks {
		if !c.OK {
			r.OK = false
			failed = append(failed, c.Name)
		}
	}
	d.tell("report", r, r.text())
	if !r.OK {
		return &FailedError{failed}
	}
	return nil
}
