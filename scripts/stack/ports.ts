// Owns: which ports a stack listens on.
// 1. A free port is held for as long as this process lives, by a listener of ours at another address and number (RabbitMQ
//    tries its own number on all addresses): two stacks that start at once never choose the same one, nor does a later
//    one take that of a broker that is down.
// 2. Free ports come from below the range that the system takes for outgoing connections.
import { createServer, type Server } from 'node:net'

export type PortKind =
  | 'kafka'
  | 'kafkaSecured'
  | 'kafkaController'
  | 'rabbit'
  | 'rabbitTls'
  | 'rabbitDistribution'
  | 'epmd'

/** The first port of each kind. */
export type FixedPorts = Readonly<Record<PortKind, number>>

export const defaultPorts: FixedPorts = {
  kafka: 29092,
  kafkaSecured: 29192,
  kafkaController: 29292,
  rabbit: 26672,
  rabbitTls: 26772,
  rabbitDistribution: 26872,
  epmd: 26969,
}

const servingHost = '127.0.0.1'
const reservingHost = '127.0.0.2'
const reservingOffset = -10_000
const portMin = 20_000
const portMax = 24_999
const attemptsMax = 2000

/** Finds `count` ports; each call of the answer takes one. */
export async function freePorts(count: number): Promise<() => number> {
  const ports: number[] = []
  for (let attempt = 0; ports.length < count; attempt += 1) {
    if (attempt >= attemptsMax) throw new Error(`no ${count} free ports between ${portMin} and ${portMax}`)
    const port = portMin + Math.floor(Math.random() * (portMax - portMin + 1))
    const reservation = await listen(port + reservingOffset, reservingHost)
    if (reservation === undefined) continue
    if (await isFree(port)) ports.push(port)
    else reservation.close()
  }
  return () => {
    const port = ports.pop()
    if (port === undefined) throw new Error('more ports taken than were asked for')
    return port
  }
}

export async function isFree(port: number): Promise<boolean> {
  const probe = await listen(port, servingHost)
  if (probe === undefined) return false
  await new Promise((resolve) => probe.close(resolve))
  return true
}

/** Undefined when it is taken. */
function listen(port: number, host: string): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer((socket) => socket.destroy())
    server.unref()
    server.once('error', () => resolve(undefined))
    server.listen({ port, host, exclusive: true }, () => resolve(server))
  })
}
