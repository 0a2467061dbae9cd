/**
 * A relying app that takes every event at once and notes when: by the clock that all processes of a machine share.
 * GET /taken?count=n answers as soon as so many have come since it was last asked.
 */
import http from 'node:http'
import { text } from 'node:stream/consumers'

/** `at`: nanoseconds of the machine's clock, when the event had been read and was about to be answered. */
export interface Taken {
  at: string
  body: string
}

let taken: Taken[] = []
let waiting: { count: number; answer: () => void } | undefined

http
  .createServer(async (request, response) => {
    if (request.method === 'POST') {
      const body = await text(request)
      taken.push({ at: String(process.hrtime.bigint()), body })
      response.writeHead(202).end()
      if (waiting && taken.length >= waiting.count) waiting.answer()
      return
    }
    const count = Number(new URL(request.url ?? '', 'http://app').searchParams.get('count') ?? 0)
    const answer = () => {
      waiting = undefined
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(JSON.stringify(taken))
      taken = []
    }
    if (taken.length >= count) answer()
    else waiting = { count, answer }
  })
  .listen(Number(process.env.PORT), '127.0.0.1', 1_024)
process.on('SIGTERM', () => process.exit(0))
