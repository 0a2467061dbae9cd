import fc from 'fast-check'
import type { Ask } from './house.ts'

/** Any bytes at all, said to be anything at all. */
export type BytesCase = {
  method: string
  headers: Record<string, string>
  /** Bytes by their numbers, or so many that are all the same. */
  body: string | number
}

const TYPES = [
  'application/x-www-form-urlencoded',
  'application/json',
  'application/json; charset=utf-16',
  'application/merge-patch+json',
  'application/problem+json',
  'multipart/form-data; boundary=x',
  'text/html',
  'application/octet-stream',
  '',
  ';',
  'a/b; c="\\"',
]

export const anyBytes = (methods: readonly string[]): fc.Arbitrary<BytesCase> =>
  fc.record({
    method: fc.constantFrom(...methods),
    headers: fc.record(
      {
        'content-type': fc.constantFrom(...TYPES),
        'content-encoding': fc.constantFrom('gzip', 'deflate', 'br', 'zstd', 'identity', 'x', ''),
        'content-length': fc.constantFrom('0', '5', '-1', '1e3', 'x', '99999999999999999999'),
        'transfer-encoding': fc.constantFrom('chunked', 'gzip', 'identity'),
        expect: fc.constantFrom('100-continue', 'tea'),
        'x-http-method-override': fc.constantFrom('DELETE', 'GET'),
        range: fc.constantFrom('bytes=0-1', 'x'),
        'if-none-match': fc.constantFrom('*', '"x"'),
      },
      { requiredKeys: [] },
    ),
    body: fc.oneof(
      { weight: 4, arbitrary: fc.uint8Array({ maxLength: 300 }).map((of) => latin1(of)) },
      { weight: 2, arbitrary: fc.string({ unit: 'binary', maxLength: 200 }).map(latin1) },
      { weight: 2, arbitrary: fc.json().map(latin1) },
      { weight: 1, arbitrary: fc.constantFrom('', '\x1f\x8b\b\0', '\xef\xbb\xbf', '{"a":') },
      { weight: 1, arbitrary: fc.constantFrom(70_000, 300_000) },
    ),
  })

const latin1 = (of: Uint8Array | string): string =>
  (typeof of === 'string' ? Buffer.from(of) : Buffer.from(of)).toString('latin1')

export const ofBytes = (
  { method, headers, body }: BytesCase,
  url: string,
  more: Record<string, string> = {},
): Ask => ({
  method: method as 'POST',
  url,
  headers: { ...headers, ...more },
  payload: typeof body === 'number' ? Buffer.alloc(body, 'a') : Buffer.from(body, 'latin1'),
})
