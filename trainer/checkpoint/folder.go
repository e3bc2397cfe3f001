package checkpoint

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/allmend-network/allmend/trainer/model"
	"github.com/allmend-network/allmend/verify/digest"
)

// MismatchError says that a part of a checkpoint is not what its manifest says.
type MismatchError struct {
	What string // the file or property
	Got  string
	Want string
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s is %s, want %s", e.What, e.Got, e.Want)
}

// generationConfig is the generation_config.json of every checkpoint: greedy,
// with the base model's special tokens.
func generationConfig() []byte {
	return fmt.Appendf(nil, "{\n  \"bos_token_id\": %d,\n  \"do_sample\": false,\n  \"eos_token_id\": %d,\n  \"pad_token_id\": %d\n}\n",
		model.BeginOfText, model.EndOfText, model.Padding)
}

// Write writes state as the checkpoint folder dir, which must not exist, and
// returns its manifest's digest. The caller fills in what m says of the run;
// Write sets Version, Step, State, Model and Files. The folder appears whole or
// not at all.
func Write(dir string, state *State, tokenizer []byte, m Manifest) (digest.Sum, Manifest, error) {
	fail := func(err error) (digest.Sum, Manifest, error) {
		return digest.Sum{}, Manifest{}, fmt.Errorf("writing checkpoint %s: %w", dir, err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return fail(errors.New("it exists already; move it away first"))
	}
	parent := filepath.Dir(dir)
	temp, err := os.MkdirTemp(parent, ".checkpoint-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(temp)
	config, err := model.HFConfig(state.Config)
	if err != nil {
		return fail(err)
	}
	m.Version, m.Step, m.State, m.Model, m.Files = 1, state.Step, state.Root(), state.Config, nil
	content := map[string]func(io.Writer) error{
		configFile:     bytesWriter(config),
		generationFile: bytesWriter(generationConfig()),
		TokenizerFile:  bytesWriter(tokenizer),
		weightsFile:    func(w io.Writer) error { return writeTensors(w, state.weightTensors()) },
		optimizerFile:  func(w io.Writer) error { return writeTensors(w, state.optimizerTensors()) },
	}
	for _, name := range files {
		f, err := writeFile(filepath.Join(temp, name), content[name])
		if err != nil {
			return fail(err)
		}
		f.Path = name
		m.Files = append(m.Files, f)
	}
	if err := m.validate(); err != nil {
		return fail(err)
	}
	b, err := m.Marshal()
	if err != nil {
		return fail(err)
	}
	if _, err := writeFile(filepath.Join(temp, ManifestFile), bytesWriter(b)); err != nil {
		return fail(err)
	}
	if err := errors.Join(os.Chmod(temp, 0o755), syncDir(temp), os.Rename(temp, dir), syncDir(parent)); err != nil {
		return fail(err)
	}
	return digest.Of(b), m, nil
}

func bytesWriter(b []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	}
}

// writeFile creates and fsyncs a file, then digests what the disk holds of it.
func writeFile(path string, content func(io.Writer) error) (File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<16)
	if err := errors.Join(content(w), w.Flush(), f.Sync()); err != nil {
		return File{}, err
	}
	size, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return File{}, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return File{}, err
	}
	sums, err := digest.Read(f, size)
	if err != nil {
		return File{}, err
	}
	return File{Bytes: sums.Size, SHA256: sums.SHA256, Blocks: sums.Blocks}, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// ReadManifest reads the manifest of the checkpoint folder dir and returns its
// digest. It looks at no other file.
func ReadManifest(dir string) (digest.Sum, Manifest, error) {
	b, err := readBounded(filepath.Join(dir, ManifestFile), MaxManifestSize)
	if err != nil {
		return digest.Sum{}, Manifest{}, err
	}
	m, err := ParseManifest(b)
	if err != nil {
		return digest.Sum{}, Manifest{}, fmt.Errorf("%s: %w", dir, err)
	}
	return digest.Of(b), m, nil
}

// ReadSignatures reads the signatures of the checkpoint folder dir; without a
// signatures.json the error is [fs.ErrNotExist].
func ReadSignatures(dir string) (Signatures, error) {
	b, err := readBounded(filepath.Join(dir, SignaturesFile), MaxSignaturesSize)
	if err != nil {
		return Signatures{}, err
	}
	s, err := ParseSignatures(b)
	if err != nil {
		return Signatures{}, fmt.Errorf("%s: %w", dir, err)
	}
	return s, nil
}

// WriteSignatures puts signatures into the checkpoint folder dir, replacing
// those there, atomically.
func WriteSignatures(dir string, s Signatures) error {
	b, err := s.Marshal()
	if err != nil {
		return err
	}
	temp := filepath.Join(dir, "."+SignaturesFile)
	os.Remove(temp) // left by a crash, if at all
	if _, err := writeFile(temp, bytesWriter(b)); err != nil {
		return fmt.Errorf("writing signatures of %s: %w", dir, err)
	}
	return errors.Join(os.Rename(temp, filepath.Join(dir, SignaturesFile)), syncDir(dir))
}

// readBounded reads a regular file of at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return b, nil
}

// Check verifies every file of the checkpoint folder dir against its manifest:
// none missing, none extra, no link, each of its size and digest. It needs
// memory for one block only.
func Check(dir string) (digest.Sum, Manifest, error) {
	sum, m, err := ReadManifest(dir)
	if err != nil {
		return digest.Sum{}, Manifest{}, err
	}
	if err := checkNames(dir); err != nil {
		return sum, m, err
	}
	for _, want := range m.Files {
		if err := checkFile(filepath.Join(dir, want.Path), want); err != nil {
			return sum, m, err
		}
	}
	config, err := model.HFConfig(m.Model)
	if err != nil {
		return sum, m, err
	}
	for name, content := range map[string][]byte{configFile: config, generationFile: generationConfig()} {
		if got := m.Files[slices.Index(files, name)].SHA256; got != digest.Of(content) {
			return sum, m, &MismatchError{filepath.Join(dir, name), "SHA-256 " + got.String(), digest.Of(content).String() + ", which the manifest's model has"}
		}
	}
	return sum, m, nil
}

func checkNames(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	missing := append([]string{}, files...)
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if !e.Type().IsRegular() {
			return &MismatchError{path, "no regular file", "nothing there but the checkpoint's files"}
		}
		if i := slices.Index(missing, e.Name()); i >= 0 {
			missing = slices.Delete(missing, i, i+1)
		} else if e.Name() != ManifestFile && e.Name() != SignaturesFile {
			return &MismatchError{path, "an extra file", "nothing there but the checkpoint's files"}
		}
	}
	if len(missing) > 0 {
		return &MismatchError{filepath.Join(dir, missing[0]), "missing", "the file that the manifest lists"}
	}
	return nil
}

func checkFile(path string, want File) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != want.Bytes {
		return &MismatchError{path, fmt.Sprintf("%d bytes long", info.Size()), fmt.Sprintf("%d", want.Bytes)}
	}
	got, err := digest.Read(f, want.Bytes)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for i := range want.Blocks {
		if got.Blocks[i] != want.Blocks[i] {
			return &MismatchError{fmt.Sprintf("block %d of %s", i, path), "SHA-256 " + got.Blocks[i].String(), want.Blocks[i].String()}
		}
	}
	if got.SHA256 != want.SHA256 {
		return &MismatchError{path, "SHA-256 " + got.SHA256.String(), want.SHA256.String()}
	}
	return nil
}

// Read checks the checkpoint folder dir as [Check] does, loads its state and
// recomputes the state root. It allocates for the manifest's model only after
// the files were found to have the sizes that model needs.
func Read(dir string) (*State, digest.Sum, Manifest, error) {
	sum, m, err := Check(dir)
	if err != nil {
		return nil, sum, m, err
	}
	params := int64(m.Model.Params())
	for name, copies := range map[string]int64{weightsFile: 1, optimizerFile: 3} {
		if f := m.Files[slices.Index(files, name)]; f.Bytes/(4*copies) < params {
			return nil, sum, m, &MismatchError{filepath.Join(dir, name), fmt.Sprintf("%d bytes long", f.Bytes), fmt.Sprintf("%d × %d floats, which its model needs", copies, params)}
		}
	}
	state := New(m.Model, make([]float32, params))
	for name, tensors := range map[string][]tensor{weightsFile: state.weightTensors(), optimizerFile: state.optimizerTensors()} {
		if err := readFile(filepath.Join(dir, name), tensors); err != nil {
			return nil, sum, m, err
		}
	}
	if state.Step != m.Step {
		return nil, sum, m, &MismatchError{"step of " + dir, fmt.Sprint(state.Step), fmt.Sprint(m.Step)}
	}
	if !state.Finite() {
		return nil, sum, m, fmt.Errorf("checkpoint %s holds a number that is not finite", dir)
	}
	if got := state.Root(); got != m.State {
		return nil, sum, m, &MismatchError{"state root of " + dir, got.String(), m.State.String()}
	}
	return state, sum, m, nil
}

func readFile(path string, tensors []tensor) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := readTensors(f, tensors); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
