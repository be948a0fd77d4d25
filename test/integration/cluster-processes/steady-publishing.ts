// Owns: callers that publish over HTTP with kept-alive connections, one request after the other, and notice every one
// that gets no answer.
// 1. A connection that is refused has carried no request: that caller goes to the next process, as clients do.
import { Agent, request } from 'node:http'

export interface SteadyPublishing {
  /** Resolves when so many more requests were answered. */
  untilAnswered(count: number): Promise<void>
  stop(): Promise<{
    /** Error codes of requests that went out and got no answer. */
    readonly unanswered: readonly string[]
    /** How often each status came. */
    readonly statuses: Readonly<Record<string, number>>
  }>
}

export interface SteadyPublishingOptions {
  readonly apis: readonly { readonly urls: { readonly http: string } }[]
  readonly bearer: string
  readonly topic: string
  readonly callers: number
}

type Answer = { readonly status: number; readonly closes: boolean } | { readonly error: string }

export async function steadyPublishing(options: SteadyPublishingOptions): Promise<SteadyPublishing> {
  const unanswered: string[] = []
  const statuses: Record<string, number> = {}
  let answered = 0
  let stopped = false
  const waiters: { readonly from: number; readonly resolve: () => void }[] = []

  const caller = async (index: number): Promise<void> => {
    let at = index % options.apis.length
    // One connection each.
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    while (!stopped) {
      const api = options.apis[at]
      if (api === undefined) throw new Error('there is no API process')
      const answer = await publish(agent, api.urls.http, options, index)
      if ('error' in answer) {
        if (answer.error !== 'ECONNREFUSED') unanswered.push(answer.error)
        at = (at + 1) % options.apis.length
        continue
      }
      statuses[answer.status] = (statuses[answer.status] ?? 0) + 1
      answered += 1
      if (answer.closes) at = (at + 1) % options.apis.length
      for (const waiter of [...waiters]) {
        if (answered < waiter.from) continue
        waiters.splice(waiters.indexOf(waiter), 1)
        waiter.resolve()
      }
    }
    agent.destroy()
  }
  const callers = Array.from({ length: options.callers }, (_, index) => caller(index))
  return {
    untilAnswered: (count) => new Promise((resolve) => waiters.push({ from: answered + count, resolve })),
    stop: async () => {
      stopped = true
      await Promise.all(callers)
      return { unanswered, statuses }
    },
  }
}

function publish(agent: Agent, http: string, options: SteadyPublishingOptions, index: number): Promise<Answer> {
  const { topic, bearer } = options
  return new Promise((resolve) => {
    const sent = request(
      `${http}/v1/topics/${topic}/events`,
      { method: 'POST', agent, headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' } },
      (answer) => {
        answer.on('error', (error: NodeJS.ErrnoException) => resolve({ error: error.code ?? error.message }))
        answer.on('end', () =>
          resolve({ status: answer.statusCode ?? 0, closes: answer.headers.connection === 'close' }),
        )
        answer.resume()
      },
    )
    sent.on('error', (error: NodeJS.ErrnoException) => resolve({ error: error.code ?? error.message }))
    sent.end(JSON.stringify({ key: `c${index}`, payload: { text: 'x' } }))
  })
}
