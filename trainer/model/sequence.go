package model

import "fmt"

// Sequence is one training sample of T tokens. Its documents are independent:
// no token attends to one before its document's start.
type Sequence struct {
	Input    []int32 // T token ids
	Label    []int32 // T token ids: Label[t] is what follows Input[t]
	Position []int32 // T: distance to the start of the document, 0 at the start
	Mask     []byte  // T: 1 where the loss counts, else 0
}

// NewSequence cuts T+1 consecutive tokens of packed documents into a Sequence
// of T. A document ends with EndOfText: the position after it is 0 again, and
// what follows it is not a target. goldfish, if not nil, has one byte for each
// label, 1 where the loss counts (see package goldfish). The Sequence keeps
// tokens.
func NewSequence(tokens []int32, goldfish []byte) Sequence {
	if len(tokens) < 2 {
		panic(fmt.Sprintf("model: a sequence of %d tokens has no label", len(tokens)))
	}
	if goldfish != nil && len(goldfish) != len(tokens)-1 {
		panic(fmt.Sprintf("model: %d mask bytes for %d labels", len(goldfish), len(tokens)-1))
	}
	n := len(tokens) - 1
	s := Sequence{
		Input:    tokens[:n:n],
		Label:    tokens[1:],
		Position: positions(tokens[:n]),
		Mask:     make([]byte, n),
	}
	for t, id := range s.Input {
		if id != EndOfText && (goldfish == nil || goldfish[t] == 1) {
			s.Mask[t] = 1
		}
	}
	return s
}

// positions counts from 0 at the first token and after each EndOfText.
func positions(tokens []int32) []int32 {
	p := make([]int32, len(tokens))
	for t := 1; t < len(tokens); t++ {
		if tokens[t-1] != EndOfText {
			p[t] = p[t-1] + 1
		}
	}
	return p
}

// Targets returns the number of tokens whose loss counts.
func (s Sequence) Targets() int {
	n := 0
	for _, m := range s.Mask {
		n += int(m)
	}
	return n
}

// validate checks what Batch promises to devices.
func (s Sequence) validate(c Config) error {
	n := len(s.Input)
	if n == 0 || len(s.Label) != n || len(s.Position) != n || len(s.Mask) != n {
		return fmt.Errorf("model: sequence has %d inputs, %d labels, %d positions, %d mask bytes, want as many of each and at least one",
			n, len(s.Label), len(s.Position), len(s.Mask))
	}
	for t := range n {
		if id := s.Input[t]; id < 0 || int(id) >= c.VocabSize {
			return fmt.Errorf("model: token %d is %d, outside the vocabulary of %d", t, id, c.VocabSize)
		}
		if id := s.Label[t]; id < 0 || int(id) >= c.VocabSize {
			return fmt.Errorf("model: label %d is %d, outside the vocabulary of %d", t, id, c.VocabSize)
		}
		if p := s.Position[t]; p != 0 && (t == 0 || p != s.Position[t-1]+1) {
			return fmt.Errorf("model: position %d is %d, want 0 or one more than the position before", t, p)
		}
		if p := s.Position[t]; int(p) >= c.MaxPositionEmbeddings {
			return fmt.Errorf("model: position %d is %d, but max_position_embeddings is %d", t, p, c.MaxPositionEmbeddings)
		}
		if s.Mask[t] > 1 {
			return fmt.Errorf("model: mask byte %d is %d, want 0 or 1", t, s.Mask[t])
		}
	}
	return nil
}

// Batch is some sequences one after another, as devices see them. It is
// immutable, so a device may keep an uploaded copy under its address.
//
// Sequence s holds tokens Offset[s] to Offset[s+1]-1. The first token of the
// document of token t is t - Position[t], which is never before its sequence.
type Batch struct {
	Offset                 []int32 // S+1
	Input, Label, Position []int32 // N
	Mask                   []byte  // N
}

// NewBatch joins sequences, which it checks against c.
func NewBatch(c Config, sequences []Sequence) (*Batch, error) {
	b := &Batch{Offset: []int32{0}}
	for i, s := range sequences {
		if err := s.validate(c); err != nil {
			return nil, fmt.Errorf("sequence %d: %w", i, err)
		}
		b.Input = append(b.Input, s.Input...)
		b.Label = append(b.Label, s.Label...)
		b.Position = append(b.Position, s.Position...)
		b.Mask = append(b.Mask, s.Mask...)
		b.Offset = append(b.Offset, int32(len(b.Input)))
	}
	return b, nil
}

// Tokens returns N, the number of tokens.
func (b *Batch) Tokens() int { return len(b.Input) }

// Sequences returns S, the number of sequences.
func (b *Batch) Sequences() int { return len(b.Offset) - 1 }

// Span returns the first token of sequence s and the one after its last.
func (b *Batch) Span(s int) (lo, hi int) { return int(b.Offset[s]), int(b.Offset[s+1]) }
