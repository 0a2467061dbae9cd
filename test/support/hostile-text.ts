import fc from 'fast-check'
import { GRANT, TOKEN_TYPE } from '../../src/oauth/names.ts'

/** Values that break what was not made for them. */

/** A compact JWS in form alone; what is text is taken for the JSON itself. */
export const unsigned = (header: unknown, payload: unknown): string =>
  [header, payload, 'x']
    .map((value) =>
      Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url'),
    )
    .join('.')

export const deep = `${'{"a":'.repeat(1_500)}1${'}'.repeat(1_500)}`

export const ODD = [
  '',
  ' ',
  '\0',
  'a\0b',
  '\t',
  '\x7f\x80\x9f',
  'a\r\nset-cookie: x=y',
  '\u{1f512}',
  '\ud800',
  '\udc00\ud800',
  '\u202e',
  '\ufeff',
  '\uffff',
  'é',
  '%00',
  '%',
  '%zz',
  "' or 1=1 --",
  '"\\',
  '<script>',
  '__proto__',
  'constructor',
  'hasOwnProperty',
  'null',
  'undefined',
  'NaN',
  '[]',
  '{}',
  '-1',
  '0',
  '1e999',
  '9007199254740993',
  'x'.repeat(257),
  'x'.repeat(2_049),
  'x'.repeat(17_000),
  'a b '.repeat(400),
  '.',
  '..',
  'a.b.c',
  '...',
  unsigned({ alg: 'ES256' }, {}),
  unsigned({ alg: 'none' }, { sub: 'x' }),
  unsigned({ alg: 'ES256' }, { sub: 'a\0b', agent_idp_grant: 'rtf_\0' }),
  unsigned({ alg: 'ES256', kid: '__proto__', typ: 'JWT' }, { sub: 'x', iss: 'x' }),
  unsigned(
    { alg: 'ES256', kid: ['x'], typ: { a: 1 } },
    { sub: ['x'], aud: {}, exp: 1e300, iat: '1' },
  ),
  unsigned({ alg: 'RS256', crit: ['b64'], b64: false }, '[]'),
  unsigned('[]', 'null'),
  unsigned(deep, deep),
  unsigned('{"alg":"ES256","alg":"none"}', '{"__proto__":{"sub":"x"},"sub":"x"}'),
  'https://user:pw@host.example/',
  'https://[::1]:99999/',
  'http://localhost:4000/',
  'https://client.example/metadata.json',
  'https://127.0.0.1/metadata.json',
  'https://CLIENT.example/../metadata.json?x#y',
  'javascript:alert(1)',
  'urn:x',
]

export const oddText = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...ODD) },
  { weight: 2, arbitrary: fc.string({ unit: 'binary', maxLength: 60 }) },
  { weight: 1, arbitrary: fc.constantFrom(...Object.values(GRANT), ...Object.values(TOKEN_TYPE)) },
)

/** Authorization details that are almost some, and JSON of any other kind. */
export const oddJson = fc.oneof(
  fc.constantFrom(
    '[]',
    '[{}]',
    '[null]',
    '{"type":"payment"}',
    '[{"type":"payment"}]',
    '[{"type":"payment","actions":["initiate"],"amount":1}]',
    '[{"type":"payment","amount":1e999}]',
    '[{"type":"payment","__proto__":{"type":"x"}}]',
    '[{"type":"payment","a":"\\u0000"}]',
    '[{"type":"payment","a":"\\ud800"}]',
    '[{"type":"payment","locations":["https://api.paperclip.example","\\u0000"]}]',
    '[{"type":"payment","type":"account"}]',
    '[{"type":"constructor"}]',
    `[${'{"type":"payment"},'.repeat(30)}{"type":"payment"}]`,
    `[{"type":"payment","a":${'['.repeat(5_000)}${']'.repeat(5_000)}}]`,
    `[{"type":"payment","a":"${'x'.repeat(8_100)}"}]`,
    `[{"type":"payment","a":"${'\u{1f512}'.repeat(2_000)}"}]`,
  ),
  fc
    .array(fc.record({ type: fc.constantFrom('payment', 'account', 'x'), a: fc.jsonValue() }))
    .map((value) => JSON.stringify(value)),
  fc.json(),
)

/** What a claim, a header parameter of a token or a member of a body may be instead. Undefined: it is left out. */
export const oddValue = fc.oneof(
  fc.constantFrom<unknown>(
    undefined,
    null,
    true,
    0,
    -1,
    1.5,
    2 ** 31,
    2 ** 53,
    1e300,
    -1e300,
    [],
    {},
    [null],
    [[]],
    [''],
    { a: { a: { a: {} } } },
    ['a', 'a'],
    { jkt: null },
    { jkt: 'x' },
    ...ODD.filter((text) => text.length < 3_000),
  ),
  fc.jsonValue({ maxDepth: 3 }),
)
