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

const profiles: readonly Profile[] = [walkProfile, lateAnswers, fury]

export function findProfile(name: string): Profile {
  const found = profiles.find((profile) => profile.name === name)
  if (found === undefined) throw new Error(`there is no profile ${name}`)
  return found
}
