// Owns: a lane whose broker is a function of the test: what is asked, when it is answered.
import type { ApiRequest } from '../../../../src/adapters/kafka/api.ts'
import type { BrokerAddress } from '../../../../src/adapters/kafka/api-metadata.ts'
import type { Connection } from '../../../../src/adapters/kafka/connection.ts'
import type { Lane } from '../../../../src/adapters/kafka/lane.ts'
import { TransportError } from '../../../../src/adapters/kafka/transport-error.ts'
import { WireWriter } from '../../../../src/adapters/kafka/wire.ts'

export interface Asked {
  readonly nodeId: number
  readonly name: string
  /** What the request would have put on the wire. */
  readonly bytes: Buffer
  readonly answer: (value: unknown) => void
  readonly fail: (error: TransportError) => void
}

export class FakeLane {
  readonly asked: Asked[] = []
  readonly destroyed: string[] = []
  version = 13
  reachable = true
  onAsk: (asked: Asked) => void = () => {}

  /** As what the code under test takes. */
  get lane(): Lane {
    return this as unknown as Lane
  }

  ready(at: BrokerAddress): Connection | undefined {
    return this.reachable ? this.#connection(at) : undefined
  }

  connection(at: BrokerAddress): Promise<Connection> {
    if (!this.reachable) return Promise.reject(new TransportError('unreachable', 'no connection'))
    return Promise.resolve(this.#connection(at))
  }

  request<T>(at: BrokerAddress, request: ApiRequest<T>, timeoutMs: number): Promise<T> {
    return this.connection(at).then((connection) => connection.send(request, timeoutMs))
  }

  close(): void {}

  #connection(at: BrokerAddress): Connection {
    const connection = {
      versions: new Map([[0, this.version]]),
      inFlight: 1,
      destroy: (why: string) => {
        this.destroyed.push(why)
        for (const one of this.asked) one.fail(new TransportError('lost', why))
      },
      send: <T>(request: ApiRequest<T>) =>
        new Promise<T>((resolve, reject) => {
          const writer = new WireWriter()
          request.body(writer)
          const asked: Asked = {
            nodeId: at.nodeId,
            name: request.name,
            bytes: Buffer.concat(writer.finish()),
            answer: (value) => resolve(value as T),
            fail: reject,
          }
          this.asked.push(asked)
          this.onAsk(asked)
        }),
    }
    return connection as unknown as Connection
  }
}
