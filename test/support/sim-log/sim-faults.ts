// Owns: how often what goes wrong in the simulated cluster. All probabilities are of one request.
export interface SimFaults {
  /** One way, each: uniform between the two. */
  delayMsMin: number
  delayMsMax: number
  /** The request never arrives; the client learns that the connection is gone. */
  requestLost: number
  /** The request arrives and is served; its answer does not come back. */
  answerLost: number
  /** The connection breaks at once, and the request arrives up to `airMsMax` later, though nobody waits for it. */
  air: number
  airMsMax: number
  /** Given that it is in the air: it arrives a second time. */
  airTwice: number
  /** Replication of one append: uniform between the two. */
  replicationMsMin: number
  replicationMsMax: number
  /** Given a failover while a batch waits for replication: the answer is NOT_LEADER with a base offset, else silence. */
  notLeaderWithOffset: number
  /** No leader for so long after a failover. */
  electionMs: number
  /** A failover of some partition every so often, uniform between 0 and twice that; 0: never. */
  failoverMeanMs: number
  /** The coordinator raises an epoch and its answer is lost. */
  raiseLost: number
  coordinatorGone: number
  /** A fetch ends with UNAVAILABLE. */
  fetchLost: number
}

export const calm: SimFaults = {
  delayMsMin: 0.2,
  delayMsMax: 1,
  requestLost: 0,
  answerLost: 0,
  air: 0,
  airMsMax: 5_000,
  airTwice: 0,
  replicationMsMin: 0.5,
  replicationMsMax: 3,
  notLeaderWithOffset: 0.5,
  electionMs: 200,
  failoverMeanMs: 0,
  raiseLost: 0,
  coordinatorGone: 0,
  fetchLost: 0,
}

export const stormy: SimFaults = {
  ...calm,
  delayMsMax: 20,
  requestLost: 0.05,
  answerLost: 0.08,
  air: 0.08,
  airTwice: 0.3,
  replicationMsMax: 60,
  failoverMeanMs: 700,
  raiseLost: 0.1,
  coordinatorGone: 0.1,
  fetchLost: 0.02,
}
