// Owns: the seed of a crash run: printed when it is chosen, given back by TRUNKLINE_SEED. It decides what is done, in
// which order and after how much progress; the machine decides about the microseconds between.
export function chooseSeed(what: string): string {
  const given = process.env['TRUNKLINE_SEED']
  const seed = given === undefined || given === '' ? String(Math.floor(Math.random() * 0x7fffffff)) : given
  process.stdout.write(`${what}: TRUNKLINE_SEED=${seed}\n`)
  return seed
}
