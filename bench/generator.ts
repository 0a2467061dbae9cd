/**
 * One load run of exchanges: reads a plan from standard input, verifies a sample of the answers as the relying
 * app would, and prints what it measured. Assertions are signed before the first request.
 */
import type { KeyObject } from 'node:crypto'
import { text } from 'node:stream/consumers'
import { type Case, exchangeForm, type Fixture, ID_JAG } from './fixture.ts'
import {
  assertionHeader,
  clientAssertion,
  dpopHeader,
  dpopProof,
  type Jwk,
  privateKeyOf,
  publicKeyOf,
  readJwt,
  signatureHolds,
} from './jwt.ts'
import { type Load, load, MAX_REQUESTS, type Measured } from './load.ts'

export interface Plan extends Load {
  fixture: Fixture
}

export interface MeasuredExchanges extends Measured {
  /** Should be 0: assertions that had to be signed while measuring. */
  signedLate: number
  verified: number
}

interface Exchange {
  of: Case
  key: KeyObject
  assertionHeader: string
  dpopHeader: string
  head: string
  form: string
}

const plan: Plan = JSON.parse(await text(process.stdin))
const { fixture } = plan
const door = new URL(fixture.token_endpoint)

const exchanges = fixture.cases.map(prepare)
const assertions = signAhead(sign)
// Proofs are good for a minute after they were made, which a run is shorter than.
const proofs = fixture.dpop ? signAhead(prove) : undefined
let signedLate = 0

const { figures, faults, samples, fail } = await load(door, '200', plan, (turn, measuring) => {
  const exchange = exchangeAt(turn)
  let assertion = assertions[turn]
  if (assertion === undefined) {
    if (measuring) signedLate++
    assertion = sign(exchange)
  }
  const length = exchange.form.length + assertion.length
  const head = proofs
    ? `${exchange.head}${length}\r\ndpop: ${proofs[turn] ?? prove(exchange)}`
    : `${exchange.head}${length}`
  return { message: `${head}\r\n\r\n${exchange.form}${assertion}`, asked: exchange.of }
})
const verified = await verifySamples()
process.stdout.write(JSON.stringify({ ...figures, ...faults, signedLate, verified }))
process.exit()

function prepare(of: Case): Exchange {
  const head = [
    `POST ${door.pathname} HTTP/1.1`,
    `host: ${door.host}`,
    'accept: application/json',
    'content-type: application/x-www-form-urlencoded',
    'content-length: ',
  ]
  return {
    of,
    key: privateKeyOf(of.jwk),
    assertionHeader: assertionHeader(of.jwk),
    dpopHeader: dpopHeader(of.jwk),
    head: head.join('\r\n'),
    form: exchangeForm(of),
  }
}

function signAhead(one: (exchange: Exchange) => string): string[] {
  const count = Math.min(MAX_REQUESTS, fixture.expected_rps * (plan.warmup + plan.seconds) * 1.25)
  return Array.from({ length: Math.ceil(count) }, (_, i) => one(exchangeAt(i)))
}

function exchangeAt(turn: number): Exchange {
  return exchanges[turn % exchanges.length] as Exchange
}

function sign({ of, key, assertionHeader }: Exchange): string {
  return clientAssertion(assertionHeader, of.client_id, fixture.assertion_audience, key)
}

function prove({ key, dpopHeader }: Exchange): string {
  return dpopProof(dpopHeader, fixture.token_endpoint, key)
}

/** Judges each sampled answer with the published keys; what does not hold is an error of the run. */
async function verifySamples(): Promise<number> {
  const { keys } = (await (await fetch(fixture.jwks_uri)).json()) as { keys: Jwk[] }
  const published = new Map(keys.map((jwk) => [jwk.kid, jwk]))
  const seen = new Set<unknown>()
  let verified = 0
  for (const { asked: of, body } of samples) {
    try {
      const fault = faultOf(of, JSON.parse(body), published, seen)
      if (fault) fail(`a sampled answer: ${fault}`)
      else verified++
    } catch (error) {
      fail(`a sampled answer: ${error instanceof Error ? error.message : error}`)
    }
  }
  return verified
}

function faultOf(
  of: Case,
  answer: Record<string, unknown>,
  published: Map<string, Jwk>,
  seen: Set<unknown>,
): string | undefined {
  if (answer.issued_token_type !== ID_JAG || answer.token_type !== 'N_A') return 'token type'
  const idJag = String(answer.access_token)
  const { header, claims } = readJwt(idJag)
  const jwk = published.get(String(header.kid))
  if (!jwk) return 'kid not published'
  if (header.alg !== 'ES256' || header.typ !== 'oauth-id-jag+jwt') return 'header'
  if (!signatureHolds(idJag, publicKeyOf(jwk))) return 'signature'
  if (claims.iss !== fixture.issuer || claims.aud !== of.audience) return 'iss or aud'
  const subject = readJwt(of.subject_token).claims.sub
  if (claims.sub !== subject || !claims.client_id) return 'sub or client_id'
  if (!sameWords(claims.scope, of.scope) || !sameWords(answer.scope, of.scope)) return 'scope'
  if ([claims.resource].flat().join() !== of.resource) return 'resource'
  if ((fixture.dpop === true) !== (claims.cnf !== undefined)) return 'cnf'
  const now = Date.now() / 1000
  if (!(Number(claims.exp) > now) || Number(claims.exp) > now + 3600) return 'exp'
  if (!claims.jti || seen.has(claims.jti)) return 'jti'
  seen.add(claims.jti)
  return undefined
}

function sameWords(one: unknown, other: string): boolean {
  return String(one).split(' ').sort().join() === other.split(' ').sort().join()
}
