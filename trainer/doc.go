// Package trainer is a member's arithmetic in a round: contribute gradients,
// apply their sum, and nothing else.
//
// Its verbs are passive: who calls them, and when, is decided elsewhere, so
// that a node and an auditor run the very same code. Bits depend on the
// arguments only, never on time, cores or how work was cut. See
// docs/numerics.md.
package trainer
