import type { FastifyInstance, HTTPMethods } from 'fastify'

const METHODS: HTTPMethods[] = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

/**
 * Answers 405 with `Allow` for the methods that a path of this scope does not have, in the door's own
 * dialect. Call it first in the scope; the function it returns, when the scope's routes stand.
 */
export function refuseOtherMethods(app: FastifyInstance, refusal: () => Error): () => void {
  const known = new Map<string, Set<string>>()
  app.addHook('onRoute', (route) => {
    const methods = known.get(route.url) ?? new Set<string>()
    known.set(route.url, methods)
    for (const method of [route.method].flat()) methods.add(method)
  })
  return () => {
    for (const [url, methods] of [...known]) {
      const allow = [...methods].sort().join(', ')
      app.route({
        method: METHODS.filter((method) => !methods.has(method)),
        // The hook is told the whole path; the scope puts its prefix before this one.
        url: url.slice(app.prefix.length),
        config: { undocumented: true },
        onRequest: (_request, reply, done) => {
          reply.header('allow', allow)
          done(refusal())
        },
        handler: () => undefined,
      })
    }
  }
}
