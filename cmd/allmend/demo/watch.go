package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/allmend-network/allmend/verify/identity"
)

const (
	lookEvery  = 20 * time.Millisecond
	drawEvery  = 100 * time.Millisecond
	askTimeout = time.Second
	maxStatus  = 1 << 20 // bytes of a coordinator's answer
	patience   = 60 * time.Second
	speedOver  = 6 // closed rounds that the speed is taken over, one less at the beginning
)

// status is what a coordinator serves on localhost, as far as it is used here.
type status struct {
	Status       string             `json:"status"`
	Reason       string             `json:"reason"`
	Phase        string             `json:"phase"`
	Round        uint64             `json:"round"`
	Attempt      uint64             `json:"attempt"`
	Step         uint64             `json:"step"`
	Awaited      []identity.Address `json:"awaited"`
	Roster       []identity.Address `json:"roster"`
	Contributors []identity.Address `json:"contributors"`
	Members      []struct {
		Address  identity.Address `json:"address"`
		Expired  string           `json:"expired"`
		Progress *struct {
			Round   uint64           `json:"round"`
			Attempt uint64           `json:"attempt"`
			Phase   string           `json:"phase"`
			Step    uint64           `json:"step"`
			Waiting identity.Address `json:"waiting"`
		} `json:"progress"`
	} `json:"members"`
	Leader     identity.Address `json:"leader"`
	LogSize    uint64           `json:"log_size"`
	Checkpoint uint64           `json:"checkpoint"`
	Last       struct {
		Step    uint64  `json:"step"`
		Loss    float64 `json:"loss"`
		Targets uint64  `json:"targets"`
	} `json:"last"`
}

// watch looks at the run through its coordinators.
type watch struct {
	*swarm
	stage  stage
	client *http.Client
	last   picture
	closed []closing // seen last, and the start
	drawn  time.Time
}

// closing is when a step was seen to be done.
type closing struct {
	at   time.Time
	step uint64
}

func newWatch(s *swarm) *watch {
	return &watch{
		swarm: s, client: &http.Client{Timeout: askTimeout},
		stage: stage{names: s.names, rounds: s.Rounds},
	}
}

// look asks every living coordinator and returns what the one with the longest
// log says; reports of members come from the leader, who alone receives them.
func (w *watch) look(ctx context.Context) (picture, error) {
	var newest *status
	var reports *status
	var failed error
	for _, c := range w.coordinators {
		if c.process == nil || !c.alive() {
			continue
		}
		s, err := w.ask(ctx, c)
		if err != nil {
			failed = err
			continue
		}
		if newest == nil || s.LogSize > newest.LogSize {
			newest = s
		}
		if s.Leader == c.address {
			reports = s
		}
	}
	if newest == nil && w.over() {
		w.last.Status = "finished"
		return w.last, nil
	}
	if newest == nil {
		return picture{}, errors.Join(errors.New("no coordinator answers"), failed)
	}
	p := newest.picture(reports)
	slices.SortFunc(p.Members, func(a, b member) int { return strings.Compare(w.names.of(a.Address), w.names.of(b.Address)) })
	return p, nil
}

// over reports whether every coordinator has ended well, which they do when
// the run is finished.
func (w *watch) over() bool {
	return !slices.ContainsFunc(w.coordinators, func(c *peer) bool { return c.process == nil || c.alive() || c.err != nil })
}

func (w *watch) ask(ctx context.Context, c *peer) (*status, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/status", c.statusPort), nil)
	if err != nil {
		return nil, err
	}
	response, err := w.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	b, err := io.ReadAll(io.LimitReader(response.Body, maxStatus))
	if err != nil {
		return nil, err
	}
	s := new(status)
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("status of %s: %w", c.name, err)
	}
	return s, nil
}

func (s *status) picture(reports *status) picture {
	p := picture{
		Status: s.Status, Reason: s.Reason, Phase: s.Phase, Round: s.Round, Attempt: s.Attempt, Step: s.Step,
		LogSize: s.LogSize, Leader: s.Leader, Awaited: s.Awaited, Roster: s.Roster, Ring: s.Roster, Checkpoint: s.Checkpoint,
		Loss: s.Last.Loss, Targets: s.Last.Targets,
	}
	if p.Current = s.Round; s.Phase == "gather" {
		p.Current--
	}
	if s.Phase != "compute" && len(s.Contributors) > 0 {
		p.Ring = s.Contributors
	}
	for i, m := range s.Members {
		x := member{Address: m.Address, Expired: m.Expired != ""}
		if reports != nil && i < len(reports.Members) && reports.Members[i].Address == m.Address {
			if r := reports.Members[i].Progress; r != nil {
				x.Round, x.Phase, x.Step, x.Waiting = r.Round, r.Phase, r.Step, r.Waiting
			}
		}
		p.Members = append(p.Members, x)
	}
	return p
}

// until looks at the run until it is as ok says. It fails when the run halts,
// when a process ends that should not, and after a minute without progress.
func (w *watch) until(ctx context.Context, what string, ok func(picture) bool) (picture, error) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	moved, at := time.Now(), uint64(0)
	for {
		p, err := w.look(ctx)
		if err == nil {
			w.notice(p)
			if p.LogSize > at || p.Status == "finished" {
				moved, at = time.Now(), p.LogSize
			}
			if ok(p) {
				return p, nil
			}
			if p.Status == "halted" {
				return p, fmt.Errorf("the run halted while the demo waited until %s: %s", what, p.Reason)
			}
		}
		if err := w.allAlive(p); err != nil {
			return p, err
		}
		if time.Since(moved) > patience {
			return p, errors.Join(fmt.Errorf("nothing has moved for %s; the demo waited until %s", patience, what), err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return p, ctx.Err()
		}
	}
}

// notice takes a new picture: one line for each closed round, or the screen.
func (w *watch) notice(p picture) {
	if p.Step > w.last.Step && p.Step > 0 {
		w.closed = append(w.closed, closing{time.Now(), p.Step})
		w.closed = w.closed[max(0, len(w.closed)-speedOver):]
		first := w.closed[0]
		w.stage.speed = float64(p.Targets*(p.Step-first.step)) / time.Since(first.at).Seconds()
		w.stage.losses = append(w.stage.losses, p.Loss)
		if !w.live || w.json {
			w.tell("round", p, w.stage.line(p))
		}
		w.weigh()
	}
	w.last = p
	if time.Since(w.drawn) > drawEvery {
		w.drawn = time.Now()
		w.show(w.stage.screen(p))
	}
}
