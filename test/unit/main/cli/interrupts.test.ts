import { describe, expect, it } from 'vitest'
import { SimulatedClock } from '../../../../src/adapters/clock/simulated-clock.ts'
import { Interrupts, type SignalSource } from '../../../../src/main/cli/interrupts.ts'

type Listener = Parameters<SignalSource['on']>[1]
type Name = Parameters<Listener>[0]

class FakeSignals implements SignalSource {
  readonly listeners = new Map<Name, Listener>()
  readonly exits: number[] = []

  on(name: Name, listener: Listener): void {
    this.listeners.set(name, listener)
  }

  off(name: Name): void {
    this.listeners.delete(name)
  }

  exit(code: number): void {
    this.exits.push(code)
  }

  raise(name: Name): void {
    this.listeners.get(name)?.(name)
  }
}

function given(): { signals: FakeSignals; clock: SimulatedClock; heard: string[]; interrupts: Interrupts } {
  const signals = new FakeSignals()
  const clock = new SimulatedClock()
  const heard: string[] = []
  const handlers = { onFirst: (name: Name) => heard.push(`first ${name}`), onSecond: () => heard.push('second') }
  return { signals, clock, heard, interrupts: new Interrupts(clock, handlers, signals) }
}

describe('interrupts', () => {
  it('given none, have no exit code', () => {
    const { interrupts } = given()
    expect(interrupts.exitCode).toBeUndefined()
    expect(interrupts.signal.aborted).toBe(false)
  })

  it.each<[Name, number]>([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 143],
  ])('given the first %s, ask the command to end and leave the process alone', (name, code) => {
    const { signals, heard, interrupts } = given()
    signals.raise(name)
    expect(interrupts.signal.aborted).toBe(true)
    expect(interrupts.exitCode).toBe(code)
    expect(heard).toEqual([`first ${name}`])
    expect(signals.exits).toEqual([])
  })

  it('given the echo of a key press that npm passes on, do not take it for a second one', async () => {
    const { signals, clock, heard } = given()
    signals.raise('SIGINT')
    await clock.advance(400)
    signals.raise('SIGINT')
    expect(signals.exits).toEqual([])
    expect(heard).toEqual(['first SIGINT'])
  })

  it('given a second one later, end the process at once with the signal’s code', async () => {
    const { signals, clock, heard } = given()
    signals.raise('SIGINT')
    await clock.advance(600)
    signals.raise('SIGINT')
    expect(signals.exits).toEqual([130])
    expect(heard).toEqual(['first SIGINT', 'second'])
  })

  it('given a hang-up that asks for something else, go on, until a stop was asked for', () => {
    const signals = new FakeSignals()
    let reloads = 0
    const onHangUp = (): boolean => {
      reloads += 1
      return reloads < 3
    }
    const interrupts = new Interrupts(new SimulatedClock(), { onHangUp }, signals)
    signals.raise('SIGHUP')
    signals.raise('SIGHUP')
    expect([reloads, interrupts.signal.aborted]).toEqual([2, false])
    signals.raise('SIGHUP')
    expect([reloads, interrupts.signal.aborted]).toEqual([3, true])
  })

  it('given stop, do not listen any more', () => {
    const { signals, interrupts } = given()
    interrupts.stop()
    expect(signals.listeners.size).toBe(0)
  })

  it('given a second one inside work that must not be cut, end behind that work, with the code of that signal', async () => {
    const { signals, clock, heard, interrupts } = given()
    let finish = (): void => {}
    const work = interrupts.hold(() => new Promise<string>((resolve) => (finish = () => resolve('done'))))
    signals.raise('SIGINT')
    await clock.advance(1_000)
    signals.raise('SIGTERM')
    expect([signals.exits, heard]).toEqual([[], ['first SIGINT']])
    finish()
    expect(await work).toBe('done')
    expect([signals.exits, heard]).toEqual([[143], ['first SIGINT', 'second']])
  })

  it('given such work that fails behind a second one, end all the same', async () => {
    const { signals, clock, interrupts } = given()
    const work = interrupts.hold(async () => {
      signals.raise('SIGINT')
      await clock.advance(1_000)
      signals.raise('SIGINT')
      throw new Error('failed')
    })
    await expect(work).rejects.toThrow('failed')
    expect(signals.exits).toEqual([130])
  })

  it('given such work that was over before, leave the process alone, and end at once at the second one', async () => {
    const { signals, clock, interrupts } = given()
    signals.raise('SIGINT')
    await interrupts.hold(async () => {})
    expect(signals.exits).toEqual([])
    await clock.advance(1_000)
    signals.raise('SIGINT')
    expect(signals.exits).toEqual([130])
  })
})
