// Package testrun is a tiny run, truly trained and signed inside one process,
// whose evidence tests are held against.
//
// Three coordinators and three members with known keys close six rounds over
// a few hundred made-up tokens, with a checkpoint every two. In round 5 a ring
// breaks and one member is left out; it returns for round 6. A [Script] makes
// members lie in ways that only a replay finds. Nothing here is secret or fit
// for use outside tests.
package testrun
