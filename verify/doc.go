// Package verify is the checks of shards, checkpoints and a run's record log
// that a stranger makes, offline, from a run ID and some folders.
//
// Nothing is believed that is not derived from the run ID: the Spec is its
// preimage, the log is applied again statement by statement, signatures count
// only from keys that the log authorises at that point, and every file is
// recomputed from its bytes. A [*Failure] says that something was refused; a
// [*Missing] that something could not be checked. See docs/formats.md,
// "Evidence", and docs/threat-model.md.
package verify
