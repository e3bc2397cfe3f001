package model

import (
	"slices"
	"strings"
	"testing"
)

func TestNewSequence(t *testing.T) {
	tokens := []int32{1, 10, 11, 2, 1, 12, 2, 2, 13}
	s := NewSequence(tokens, nil)
	if want := []int32{1, 10, 11, 2, 1, 12, 2, 2}; !slices.Equal(s.Input, want) {
		t.Errorf("input %v, want %v", s.Input, want)
	}
	if want := []int32{10, 11, 2, 1, 12, 2, 2, 13}; !slices.Equal(s.Label, want) {
		t.Errorf("label %v, want %v", s.Label, want)
	}
	if want := []int32{0, 1, 2, 3, 0, 1, 2, 0}; !slices.Equal(s.Position, want) {
		t.Errorf("position %v, want %v", s.Position, want)
	}
	if want := []byte{1, 1, 1, 0, 1, 1, 0, 0}; !slices.Equal(s.Mask, want) {
		t.Errorf("mask %v, want %v", s.Mask, want)
	}
	masked := NewSequence(tokens, []byte{0, 1, 1, 1, 1, 0, 1, 1})
	if want := []byte{0, 1, 1, 0, 1, 0, 0, 0}; !slices.Equal(masked.Mask, want) {
		t.Errorf("with a goldfish mask %v, want %v", masked.Mask, want)
	}
	if s.Targets() != 5 || masked.Targets() != 3 {
		t.Errorf("targets %d and %d, want 5 and 3", s.Targets(), masked.Targets())
	}
}

func TestNewBatchRefuses(t *testing.T) {
	good := func() Sequence { return NewSequence([]int32{1, 4, 5, 2, 6}, nil) }
	if _, err := NewBatch(small, []Sequence{good()}); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*Sequence){
		"at least one":       func(s *Sequence) { *s = Sequence{} },
		"mask bytes":         func(s *Sequence) { s.Mask = s.Mask[1:] },
		"token 1 is 50":      func(s *Sequence) { s.Input = []int32{1, 50, 5, 2} },
		"token 0 is -1":      func(s *Sequence) { s.Input = []int32{-1, 4, 5, 2} },
		"label 3 is 99":      func(s *Sequence) { s.Label = []int32{4, 5, 2, 99} },
		"position 0 is 1":    func(s *Sequence) { s.Position = []int32{1, 2, 3, 4} },
		"position 2 is 3":    func(s *Sequence) { s.Position = []int32{0, 1, 3, 4} },
		"mask byte 1 is 255": func(s *Sequence) { s.Mask[1] = 255 },
	} {
		s := good()
		spoil(&s)
		if _, err := NewBatch(small, []Sequence{good(), s}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error about %q, got %v", want, err)
		}
	}
	long := NewSequence(make([]int32, small.MaxPositionEmbeddings+2), nil)
	if _, err := NewBatch(small, []Sequence{long}); err == nil || !strings.Contains(err.Error(), "max_position_embeddings") {
		t.Errorf("a document longer than the rotary table: %v", err)
	}
}

func TestNewBatch(t *testing.T) {
	b, err := NewBatch(small, []Sequence{NewSequence([]int32{1, 4, 5}, nil), NewSequence([]int32{6, 7, 8, 9}, nil)})
	if err != nil {
		t.Fatal(err)
	}
	if b.Tokens() != 5 || b.Sequences() != 2 || !slices.Equal(b.Offset, []int32{0, 2, 5}) {
		t.Errorf("batch is %+v", b)
	}
	if lo, hi := b.Span(1); lo != 2 || hi != 5 {
		t.Errorf("second sequence is %d to %d", lo, hi)
	}
}
