// Package state is the replicated state machine of a run: signed statements
// in, log records out, with no clock, no network and no randomness.
//
// Whoever applies the same statements in the same order gets the same records,
// byte for byte, and the same RFC 6962 log root: coordinators through Raft,
// members and auditors by replaying the log ([Follower]). A statement that is
// not allowed here and now is [Refused] and leaves no trace. Transitions are
// never announced by anybody; they follow.
//
//	phase    waits for                                then
//	gather   Ready{r, 0} of the last contributors     OPEN(r): compute
//	         and of latecomers, or their Expire
//	compute  Commit of the roster, or Expire          RING(r, 1): reduce; nobody left: SKIPPED
//	reduce   Result of the contributors, or Expire    majority, none against: CLOSED: gather (last step: end)
//	                                                  Fault, Expire, differing: ABORTED: again; third ring: SKIPPED
//	again    Ready{r, a} of who still contributes,    RING(r, a): reduce; nobody left: SKIPPED
//	         or Expire
//	end      signatures of the last checkpoint        FINISHED
//
// SKIPPED returns to gather with the next round number and the same state.
// HALTED, until Control{resume}, are: three skips in a row; a second tie of
// results in one round; a tie about the state to start from, or about the last
// checkpoint; a checkpoint and an OPEN that name different states; more
// contributors of a round against the state that the run goes on from, or
// against a checkpoint, than for it, though they came too late to be counted.
// Too few Ready members, nobody left to sign the last checkpoint, or
// Control{pause}, are PAUSED: the round under way goes on, the next one does
// not open. A machine that is neither waits for somebody: [View].Awaited, or
// coordinators' signatures. Rewind leads to gather from any phase, at a signed
// checkpoint; HALTED and Control{pause} outlast it, until a resume.
//
// Old signatures are public. Commit, Result, Checkpoint and Fault name their
// round; votes carry a number; an Expire does nothing to one that has spoken
// since the log that its signer looked at; a Ready that contradicts a state that
// is known is refused. Whoever was caught saying two things adds nothing more.
//
// Where the plan is silent: a Ready{r, 0} that comes after OPEN(r) with the
// right state is void for r but makes the next round wait for its sender. The
// roster is cut to max_members and to the number of units in a round, beginning
// at address r mod n of the n that are ready, so that everybody has a turn. A
// ring whose contributors have no targets at all is SKIPPED. Pausing lets the
// round under way end. What an expired contributor had signed still counts, and
// one that signs later counts again. A vote holds until the number it carries
// is used: it cannot be taken back. Who had a part in two broken rings of a
// round sits out the third. Member, Control and Rewind are taken before
// STARTED, too: finish then ends the run at round 0. A Head is taken only as
// evidence: when it contradicts a root of the last 256 log sizes.
package state
