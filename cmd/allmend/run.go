package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/allmend-network/allmend/verify"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
	"github.com/spf13/cobra"
)

func runCommand(c *console) *cobra.Command {
	return group(c, "run", "Start a run, look at it, steer it",
		runExample(c), runInit(c), runShow(c), runStatus(c),
		steer(c, run.Pause, "Hold the next round back; the one under way goes on"),
		steer(c, run.Resume, "Go on after a pause or a halt"),
		steer(c, run.Finish, "End the run after the round under way"),
		runRewind(c), runFetch(c))
}

func runExample(c *console) *cobra.Command {
	var coordinators, members []string
	cmd := &cobra.Command{
		Use:     "example",
		Short:   "Print a run.yaml with every key, its meaning and its default",
		Example: "  allmend run example --coordinator ADDRESS --member ADDRESS > run.yaml",
		Args:    arguments(0, 0),
		RunE: func(*cobra.Command, []string) error {
			text, err := exampleConfig(coordinators, members)
			if err != nil {
				return err
			}
			return c.result(struct {
				Text string `json:"yaml"`
			}{text}, text)
		},
	}
	cmd.Flags().StringSliceVar(&coordinators, "coordinator", nil, "address of a coordinator; may be repeated")
	cmd.Flags().StringSliceVar(&members, "member", nil, "address of a first member; may be repeated")
	return cmd
}

func runInit(c *console) *cobra.Command {
	var from, out string
	cmd := &cobra.Command{
		Use:   "init CONFIG.yaml",
		Short: "Fix a run: resolve its configuration, draw the initial weights, print the run ID",
		Long: `Fix a run: resolve CONFIG.yaml against the shards, draw the initial weights, and write the run's folder.
Every peer starts from that folder. Its spec.json is never changed: another spec is another run.`,
		Example: "  allmend run init run.yaml --shards shards --out myrun",
		Args:    arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if from == "" || out == "" {
				return usagef("run init: --shards and --out are needed")
			}
			config := defaultRunConfig()
			if err := readYAML(args[0], &config); err != nil {
				return err
			}
			made, err := config.resolve(cmd.Context(), from)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if err := made.write(out); err != nil {
				return err
			}
			r, err := describeSpec(made.spec, out)
			if err != nil {
				return err
			}
			return c.result(r, r.text()+fmt.Sprintf(`

%s holds the Spec and the first checkpoint. Give it to every coordinator and member. Next:
  allmend coordinator --run %s --key COORDINATOR.key --data DIR
  allmend node --run %s --key NODE.key --data DIR --shards %s --peer /ip4/…/p2p/…`, out, out, out, from))
		},
	}
	cmd.Flags().StringVar(&from, "shards", "", "folder of the shards to train on")
	cmd.Flags().StringVar(&out, "out", "", "folder to write; it must not exist")
	return cmd
}

func runShow(c *console) *cobra.Command {
	return &cobra.Command{
		Use:     "show FOLDER",
		Short:   "Print what a run fixes: the Spec in a run's folder, or in a file",
		Example: "  allmend run show myrun",
		Args:    arguments(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			spec, err := readSpec(args[0])
			if err != nil {
				return err
			}
			r, err := describeSpec(spec, args[0])
			if err != nil {
				return err
			}
			return c.result(r, r.text())
		},
	}
}

// readSpec reads a Spec from a run's folder or from a file.
func readSpec(path string) (run.Spec, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, verify.SpecFile)
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return run.Spec{}, fmt.Errorf("there is no run at %s (make one with `allmend run init`): %w", path, err)
	}
	if err != nil {
		return run.Spec{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, run.MaxSpecSize+1))
	if err != nil {
		return run.Spec{}, fmt.Errorf("%s: %w", path, err)
	}
	spec, err := run.ParseSpec(b)
	if err != nil {
		return run.Spec{}, fmt.Errorf("%s: %w", path, err)
	}
	return spec, nil
}

// specResult is what the commands say about a Spec.
type specResult struct {
	Run        run.ID   `json:"run"`
	Folder     string   `json:"folder"`
	Parameters int      `json:"parameters"`
	Spec       run.Spec `json:"spec"`
}

func describeSpec(spec run.Spec, folder string) (specResult, error) {
	id, err := spec.ID()
	return specResult{id, folder, spec.Model.Params(), spec}, err
}

func (r specResult) text() string {
	s := r.Spec
	return fmt.Sprintf(`run           %s
name          %s
model         %d parameters, %d layers of %d, vocabulary %d
data          shards %s, %d samples of %d tokens
a round       %d samples in units of %d, checkpoint every %d
end           after %d rounds, %.2f epochs
members       %d to %d; %d listed%s
coordinators  %d, %d must agree%s%s`,
		r.Run, s.Name, r.Parameters, s.Model.NumHiddenLayers, s.Model.HiddenSize, s.Model.VocabSize,
		s.Shards.Short(), s.Sequences, s.Sequence, s.Batch, s.Unit, s.Checkpoint,
		s.Rounds, float64(s.Rounds)*float64(s.Batch)/float64(s.Sequences),
		s.MinMembers, s.MaxMembers, len(s.Members), lines(s.Members),
		len(s.Coordinators), s.Threshold, lines(s.Coordinators), failover(s))
}

func lines(addresses []identity.Address) string {
	text := ""
	for _, a := range addresses {
		text += "\n              " + a.String()
	}
	return text
}

// failover says how many coordinators the run survives the loss of.
func failover(s run.Spec) string {
	switch spare := len(s.Coordinators) - s.Threshold; spare {
	case 0:
		return "\n              no fail-over: the run stops while one of them is away"
	default:
		return fmt.Sprintf("\n              the run survives the loss of any %d", spare)
	}
}
