/**
 * What Fastify alone does for a document that is always the same: one route with it, one without its body.
 * With LOG=on it also writes the lines about each request that Fastify writes by itself.
 */
import Fastify from 'fastify'

const { PORT, LOG, DOCUMENT = '' } = process.env
const { headers, body } = JSON.parse(DOCUMENT) as { headers: Record<string, string>; body: string }
const { 'content-type': _, ...unchanged } = headers

const app = Fastify({ logger: LOG === 'on' })
app.get('/document', (_request, reply) => reply.headers(headers).send(body))
app.get('/unchanged', (_request, reply) => reply.code(304).headers(unchanged).send())
await app.listen({ host: '127.0.0.1', port: Number(PORT) })
process.on('SIGTERM', () => process.exit(0))
