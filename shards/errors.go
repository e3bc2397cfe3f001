package shards

import (
	"fmt"

	"github.com/allmend-network/allmend/verify/digest"
)

// MismatchError says that bytes are not what a manifest or a digest says.
type MismatchError struct {
	What string // the thing: `file "tokens-00000.bin", block 3 (bytes 3145728 to 4194303)`
	Got  string
	Want string
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s: got %s, want %s", e.What, e.Got, e.Want)
}

// MissingError says that a store does not hold a block.
type MissingError struct{ Block digest.Sum }

func (e *MissingError) Error() string {
	return fmt.Sprintf("block %s is not in this store; fetch it from a peer that has it", e.Block)
}
