// Owns: the ports that client code takes, re-exported so that the SDK depends on this folder and the protocol alone.
export type { Clock, Timer } from '../../ports/clock.ts'
export type { Random } from '../../ports/random.ts'
