import { isDeepStrictEqual } from 'node:util'
import { recordEvent } from '../audit/record.ts'
import { newId } from '../db/ids.ts'
import type { Db } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { SsfError, wrongRequest } from '../http/ssf-door.ts'
import { DELIVERY_METHOD } from '../oauth/names.ts'
import { isOurs } from '../oauth/uri.ts'
import type { Caller } from './admit.ts'
import { endpointsOf } from './endpoints.ts'
import { dropEvents } from './event-queries.ts'
import { holdStream } from './find-stream.ts'
import type { Delivery, NewStream, StreamChange } from './schema.ts'
import { sealHeader } from './sealed-header.ts'
import { describeStream, type Stream, type StreamConfiguration } from './stream.ts'
import { endStreamOf, insertStream, updateStream } from './stream-queries.ts'

/** @throws {SsfError} 400; 409, for a receiver has one stream at the most */
export async function createStream(
  tx: Db,
  deps: Deps,
  caller: Caller,
  given: NewStream,
): Promise<StreamConfiguration> {
  const at = deps.now()
  const id = newId('str')
  const stream = await insertStream(tx, {
    id,
    tenant_id: caller.tenant_id,
    receiver_id: caller.id,
    ...deliveryColumns(deps, id, given.delivery),
    events_requested: distinct(given.events_requested),
    description: given.description,
    active_at: at,
    created_at: at,
    updated_at: at,
  })
  if (stream === undefined) {
    throw new SsfError(409, 'stream_exists', 'A receiver has one stream: change it, or delete it')
  }
  const made = describeStream(deps.config.issuer, caller.audience, stream)
  refuseForeign(given, made)
  await record(tx, 'stream.created', caller, stream, at)
  return made
}

/**
 * PATCH changes what is named; PUT (`whole`) takes what is not named for deleted.
 * @throws {SsfError} 400, 404
 */
export async function changeStream(
  tx: Db,
  deps: Deps,
  caller: Caller,
  given: StreamChange,
  whole: boolean,
): Promise<StreamConfiguration> {
  const { issuer } = deps.config
  const before = await holdStream(tx, caller, given.stream_id)
  refuseForeign(given, describeStream(issuer, caller.audience, before))
  const { delivery, events_requested, description } = given
  const at = deps.now()
  const stream = await updateStream(tx, before.id, {
    ...(whole || delivery
      ? deliveryColumns(deps, before.id, delivery, whole ? undefined : before)
      : {}),
    ...(whole || events_requested ? { events_requested: distinct(events_requested) } : {}),
    ...(whole || description !== undefined ? { description: description ?? null } : {}),
    active_at: at,
    updated_at: at,
  })
  await record(tx, 'stream.updated', caller, stream, at)
  return describeStream(issuer, caller.audience, stream)
}

/** @throws {SsfError} 404 */
export async function deleteStream(tx: Db, deps: Deps, caller: Caller, id: string): Promise<void> {
  const stream = await holdStream(tx, caller, id)
  const at = deps.now()
  await endStreamOf(tx, caller.id, at)
  await dropEvents(tx, stream.id, at)
  await record(tx, 'stream.deleted', caller, stream, at)
}

type DeliveryColumns = Pick<Stream, 'method' | 'endpoint_url' | 'authorization_header'> & {
  failing_since: null
}

const POLL: DeliveryColumns = {
  method: 'poll',
  endpoint_url: null,
  authorization_header: null,
  failing_since: null,
}

/**
 * @param before what a PATCH changes: the header goes on to the address that it was given for, and to no other
 * @throws {SsfError} 400
 */
function deliveryColumns(
  { config, outbound }: Deps,
  id: string,
  given: Delivery = { method: DELIVERY_METHOD.poll },
  before?: Stream,
): DeliveryColumns {
  const { method, endpoint_url, authorization_header } = given
  if (method === DELIVERY_METHOD.poll) {
    if (endpoint_url !== undefined && endpoint_url !== endpointsOf(config.issuer).poll(id)) {
      throw wrongRequest('delivery: the endpoint_url of a polled stream is ours to say')
    }
    if (authorization_header !== undefined) {
      throw wrongRequest('delivery: a polled stream has no authorization_header')
    }
    return POLL
  }
  if (method !== DELIVERY_METHOD.push) {
    throw wrongRequest(
      `delivery: method must be ${DELIVERY_METHOD.push} or ${DELIVERY_METHOD.poll}`,
    )
  }
  if (endpoint_url === undefined) throw wrongRequest('delivery: push needs an endpoint_url')
  const fault = faultOf(endpoint_url, { config, outbound })
  if (fault !== undefined) throw wrongRequest(`delivery: endpoint_url: ${fault}`)
  const keeps = authorization_header === undefined && before?.endpoint_url === endpoint_url
  return {
    method: 'push',
    endpoint_url,
    authorization_header: keeps
      ? (before?.authorization_header ?? null)
      : sealed(config.keyEncryptionKeys ?? [], id, authorization_header),
    failing_since: null,
  }
}

/** What is wrong with an address that events are to be pushed to. */
function faultOf(url: string, { config, outbound }: Pick<Deps, 'config' | 'outbound'>) {
  if (url.includes('#')) return 'it has a fragment'
  return isOurs(url, config.issuer) ? 'it is an address of this server' : outbound.judge(url)
}

function sealed(keks: Buffer[], id: string, header: string | undefined): string | null {
  if (header === undefined) return null
  if (!/^[\x21-\x7e]+(?: [\x21-\x7e]+)*$/.test(header)) {
    throw wrongRequest('delivery: authorization_header must be printable ASCII')
  }
  return sealHeader(keks, id, header)
}

const OURS = [
  'stream_id',
  'iss',
  'aud',
  'events_supported',
  'events_delivered',
  'min_verification_interval',
  'inactivity_timeout',
] as const

/** What is ours may be sent back as it is, and not otherwise (SSF §8.1.1.3). */
function refuseForeign(given: NewStream | StreamChange, own: StreamConfiguration): void {
  for (const name of OURS) {
    if (given[name] !== undefined && !isDeepStrictEqual(given[name], own[name])) {
      throw wrongRequest(`${name} is the transmitter's to set: leave it out, or send it as it is`)
    }
  }
}

const distinct = (values: readonly string[] = []): string[] => [...new Set(values)]

const record = (tx: Db, type: string, caller: Caller, stream: Stream, at: Date) =>
  recordEvent(tx, {
    type,
    at,
    actor: { kind: 'system', id: caller.id },
    tenant_id: caller.tenant_id,
    detail: { receiver_id: caller.id, stream_id: stream.id, method: stream.method },
  })
