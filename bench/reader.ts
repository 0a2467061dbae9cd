/** One load run of one document: reads a plan from standard input, gets the document over and over, prints. */
import { text } from 'node:stream/consumers'
import { type Load, load } from './load.ts'

export interface ReadingPlan extends Load {
  url: string
  /** Who has the document of this ETag already is answered 304 (RFC 9110 §13.1.2). */
  known?: string | undefined
  /** What a sampled answer has to be, to the byte. */
  body: string
}

const plan: ReadingPlan = JSON.parse(await text(process.stdin))
const door = new URL(plan.url)
const lines = [
  `GET ${door.pathname} HTTP/1.1`,
  `host: ${door.host}`,
  'accept: application/json',
  ...(plan.known === undefined ? [] : [`if-none-match: ${plan.known}`]),
]
const turn = { message: `${lines.join('\r\n')}\r\n\r\n`, asked: undefined }

const status = plan.known === undefined ? '200' : '304'
const { figures, faults, samples, fail } = await load(door, status, plan, () => turn)
for (const { body } of samples) if (body !== plan.body) fail(`another body: ${body.slice(0, 300)}`)
process.stdout.write(JSON.stringify({ ...figures, ...faults }))
process.exit()
