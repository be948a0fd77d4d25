// Owns: the profiles by name: the walk, and those that look for one omission where the walk meets it seldom.
import { type Profile, walkProfile } from './profile.ts'

/** Answers of allocates that come when the client has long gone on, and sessions that end all the time. */
const lateAnswers: Profile = {
  ...walkProfile,
  name: 'late-answers',
  nodes: { min: 3, max: 4 },
  topics: { min: 1, max: 1 },
  partitions: { min: 2, max: 2 },
  producers: { min: 4, max: 4 },
  readers: { min: 1, max: 1 },
  stormMs: { min: 20_000, max: 20_000 },
  thinkMs: { min: 50, max: 300 },
  pipeline: { min: 2, max: 4 },
  nodeFaultMs: { min: 300, max: 800 },
  faults: { kill: 1, silentKill: 0.3, air: 0.9, slowReplicas: 1 },
  airShare: { min: 0.2, max: 0.5 },
  airMsMax: { min: 500, max: 4_000 },
  replicationMsMax: { min: 200, max: 800 },
  allocatePatienceMs: { min: 100, max: 300 },
  callTimeoutMs: { min: 5_000, max: 10_000 },
  link: { replyLate: 0.4, lateMsMax: 4_000 },
}

/** Everything at once: sessions seldom live for long, and what is in doubt is taken over while it is taken over. */
const fury: Profile = {
  ...walkProfile,
  name: 'fury',
  topics: { min: 1, max: 1 },
  nodeFaultMs: { min: 300, max: 1_500 },
  failoverMs: { min: 100, max: 1_000 },
  faults: Object.fromEntries(Object.keys(walkProfile.faults).map((kind) => [kind, 0.8])),
  airShare: { min: 0.05, max: 0.4 },
  allocatePatienceMs: { min: 100, max: 3_000 },
  callTimeoutMs: { min: 100, max: 3_000 },
  appendDeadlineMs: { min: 500, max: 10_000 },
}

/** Nodes that go all the time, with appends of many partitions in the air. */
const takeOvers: Profile = {
  ...walkProfile,
  name: 'take-overs',
  nodes: { min: 3, max: 4 },
  topics: { min: 1, max: 1 },
  partitions: { min: 3, max: 4 },
  producers: { min: 2, max: 3 },
  readers: { min: 1, max: 1 },
  stormMs: { min: 10_000, max: 15_000 },
  thinkMs: { min: 50, max: 200 },
  pipeline: { min: 2, max: 6 },
  eventsPerPublish: { min: 2, max: 5 },
  nodeFaultMs: { min: 400, max: 1_200 },
  faults: { kill: 1, silentKill: 0.3, zombie: 0.5, air: 1, link: 0.3, switchboard: 0.3 },
  airShare: { min: 0.2, max: 0.4 },
  airMsMax: { min: 1_000, max: 4_000 },
  allocatePatienceMs: { min: 200, max: 2_000 },
}

/** Leaders that go all the time, with much that is not replicated. */
const failovers: Profile = {
  ...walkProfile,
  name: 'failovers',
  topics: { min: 1, max: 1 },
  partitions: { min: 2, max: 2 },
  producers: { min: 3, max: 4 },
  readers: { min: 1, max: 1 },
  stormMs: { min: 10_000, max: 15_000 },
  thinkMs: { min: 20, max: 100 },
  pipeline: { min: 4, max: 12 },
  nodeFaultMs: { min: 1_000, max: 3_000 },
  failoverMs: { min: 100, max: 400 },
  faults: { kill: 0.7, drain: 0.3, failover: 1, append: 1, air: 0.5, slowReplicas: 1 },
  replicationMsMax: { min: 100, max: 300 },
}

/** Topics shared with native producers: an event is a record, offsets have holes, strangers write between. */
const plain: Profile = { ...walkProfile, name: 'plain', eventsPerPublish: { min: 1, max: 9 }, plain: true }

const profiles: readonly Profile[] = [walkProfile, lateAnswers, takeOvers, failovers, fury, plain]

export function findProfile(name: string): Profile {
  const found = profiles.find((profile) => profile.name === name)
  if (found === undefined) throw new Error(`there is no profile ${name}`)
  return found
}
