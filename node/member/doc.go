// Package member is the member's half of a round: covered log entries and
// finished jobs in, actions out, with no clock, no disk and no network.
//
// A [Member] compares two pictures, what the log says and what this process
// holds, and asks for the next thing that brings the second to the first. So
// joining late, restarting, and having missed a CLOSED are one mechanism: hold
// no state, restore a checkpoint, apply reduced vectors, say Ready.
//
//	log says   this process holds                  it asks for
//	any        no state, a void or a wrong one     [Restore] of the newest checkpoint it can trust
//	any        state c, a checkpoint of c is kept  [WriteCheckpoint], then Submit Checkpoint
//	any        own [Apply], another root than its  the same, and Submit Ready with its root; then [Restore]
//	any        an older state                      [FetchReduced], [Apply], round by round
//	gather     the state at the start of r         Submit Ready{r, 0}
//	compute    it, and is in the roster            [Compute], then Submit Commit
//	compute…   it, and is not, or is expired       Submit Ready{r, 0}: void, but the next round waits for it
//	reduce     its contribution                    [Ring], then Submit Result or Fault
//	again      its contribution                    Submit Ready{r, a}
//	any        a commit whose vector is gone       nothing: it sits the round out
//	finished                                       [Finish]
//
// Jobs ([Restore], [FetchReduced], [Apply], [Compute], [Ring],
// [WriteCheckpoint]) run one at a time, in the order given; their completion
// means that what they made is durable. [Cancel] asks the one under way to end
// soon; its completion, if it still comes, is ignored. Statements are fsynced by
// the caller before they are sent, then proposed until they are applied or
// refused.
package member
