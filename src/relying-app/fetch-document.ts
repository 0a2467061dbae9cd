/** A JSON document of an issuer that this app trusts: one request, no redirect, within bounds. */
import { isObject } from '../oauth/is-object.ts'

export type Fetched = {
  document: Record<string, unknown>
  /** Seconds that it may be kept, as its `Cache-Control` says; undefined when that is silent. */
  maxAge: number | undefined
}
export type FetchDocument = (url: string) => Promise<Fetched>

/** The issuer could not be asked. That says nothing about the token. */
export class IssuerUnavailable extends Error {
  override name = 'IssuerUnavailable'
}

const TIMEOUT = 5_000
/** Bytes. */
const LARGEST = 256 * 1024

/** @throws {IssuerUnavailable} */
export async function fetchDocument(url: string): Promise<Fetched> {
  try {
    const answer = await fetch(url, {
      headers: { accept: 'application/json' },
      redirect: 'error',
      signal: AbortSignal.timeout(TIMEOUT),
    })
    if (answer.status !== 200) throw new Error(`it answered ${answer.status}`)
    const document: unknown = JSON.parse(await readText(answer))
    if (!isObject(document)) throw new Error('it answered something else than an object')
    return { document, maxAge: maxAgeOf(String(answer.headers.get('cache-control'))) }
  } catch (cause) {
    throw new IssuerUnavailable(`${url} cannot be read`, { cause })
  }
}

async function readText({ body }: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of body ?? []) {
    length += chunk.length
    if (length > LARGEST) throw new Error('it is too large')
    chunks.push(chunk)
  }
  return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks))
}

function maxAgeOf(cacheControl: string): number | undefined {
  const [, seconds] = /(?:^|[\s,])max-age=(\d{1,9})(?=$|[\s,])/i.exec(cacheControl) ?? []
  return seconds === undefined ? undefined : Number(seconds)
}
