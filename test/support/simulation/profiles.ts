// Owns: the profiles by name.
import { type Profile, walkProfile } from './profile.ts'

const profiles: readonly Profile[] = [walkProfile]

export function findProfile(name: string): Profile {
  const found = profiles.find((profile) => profile.name === name)
  if (found === undefined) throw new Error(`there is no profile ${name}`)
  return found
}
