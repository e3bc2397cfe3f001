// Package run is the constitution of a training run: the Spec that names it,
// the statements that are signed about it, and the pure functions by which
// every node and every auditor derive the same decisions.
//
// Nothing here knows a clock, a disk, a network or randomness. See
// docs/formats.md, "Spec" and "Statements", and docs/design.md, "A round".
package run
