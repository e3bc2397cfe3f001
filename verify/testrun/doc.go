// Package testrun is a tiny run, truly trained and signed inside one process,
// whose evidence tests are held against.
//
// Three coordinators and three members with known keys close six rounds over
// a few hundred made-up tokens, with a checkpoint every two. In round 4 a ring
// breaks and one member is left out; it follows, signs the checkpoint all the
// same, and is back in round 5. A [Script] makes
// members lie in ways that only a replay finds. Nothing here is secret or fit
// for use outside tests.
package testrun
