import { readFile } from 'node:fs/promises'
import type { FastifyPluginAsync, FastifyReply } from 'fastify'
import Type from 'typebox'
import { PAGE_HEADERS, type Page, sendPage } from './page.ts'
import { isProblemCode, problemPage, unknownProblemPage } from './problem-page.ts'
import { referencePage } from './reference-page.ts'

/** The committed document: what is served is what was reviewed. */
const DOCUMENT = new URL('../../docs/openapi.json', import.meta.url)

/** A new release should be seen soon. */
const CACHED = { 'cache-control': 'public, max-age=300' }

const tags = ['reference']

/** The API reference, for programs and for people, and what each problem means. Open to everyone. */
export const referenceRoutes: FastifyPluginAsync = async (app) => {
  const text = once(() => readFile(DOCUMENT, 'utf8'))
  // Kept as text: the document is parsed for as long as the page takes to write.
  const page = once(async () => referencePage(JSON.parse(await text())))

  for (const url of ['/openapi.json', '/admin/v1/openapi.json']) {
    app.get(
      url,
      {
        schema: {
          summary: 'This reference as OpenAPI 3.1',
          tags,
          response: {
            200: Type.Object({}, { description: 'OpenAPI', additionalProperties: true }),
          },
        },
      },
      async (_request, reply) =>
        reply
          .headers({ ...CACHED, 'access-control-allow-origin': '*' })
          .type('application/json; charset=utf-8')
          .send(Buffer.from(await text())),
    )
  }

  for (const url of ['/docs', '/admin/v1/docs']) {
    app.get(
      url,
      { schema: { summary: 'This reference as a page', tags } },
      async (_request, reply) => sendOpenPage(reply, await page()),
    )
  }

  app.get(
    '/problems/:code',
    {
      schema: {
        summary: 'What a problem of the admin API means and what to do',
        tags,
        params: Type.Object({
          code: Type.String({
            description: 'The last part of a problem’s type',
            examples: ['not_found'],
          }),
        }),
      },
    },
    async (request, reply) => {
      const { code } = request.params as { code: string }
      return sendOpenPage(reply, isProblemCode(code) ? problemPage(code) : unknownProblemPage)
    },
  )
}

const sendOpenPage = (reply: FastifyReply, page: Page): FastifyReply =>
  sendPage(reply.headers({ ...PAGE_HEADERS, ...CACHED }), page)

/** The same promise to everyone; one that failed is forgotten. */
function once<Value>(make: () => Promise<Value>): () => Promise<Value> {
  let made: Promise<Value> | undefined
  return () => {
    made ??= make().catch((error) => {
      made = undefined
      throw error
    })
    return made
  }
}
