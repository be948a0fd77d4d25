// Owns: the bare fastify of the limit run: takes a body, answers as many bytes as the path says.
import { fastify } from 'fastify'

const app = fastify({ bodyLimit: 4 * 1024 * 1024 })
app.addContentTypeParser('application/octet-stream', { parseAs: 'buffer' }, async (_: unknown, body: Buffer) => body)
const answers = new Map<string, Buffer>()
app.post<{ Params: { bytes: string } }>('/:bytes', async (asked, reply) => {
  const { bytes } = asked.params
  const answer = answers.get(bytes) ?? Buffer.alloc(Number(bytes), 7)
  answers.set(bytes, answer)
  return await reply.type('application/octet-stream').send(answer)
})
await app.listen({ host: '127.0.0.1', port: 0 })
const address = app.server.address()
process.send?.(typeof address === 'object' && address !== null ? address.port : 0)
process.once('disconnect', () => process.exit(0))
