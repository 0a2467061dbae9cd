/**
 * Signing keys from a terminal, over the admin API of a running server, so that what is done is audited like
 * every other call. Without ADMIN_API_KEY it takes the key that the embedded server made in DATA_DIR.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Config, loadConfig } from '../config.ts'
import { keyTable, type ListedKey } from './key-table.ts'

const USAGE = `npm run keys -- <command>

  list [--all] [--json]            keys that sign, will sign, or are still published; --all: every one there was
  rotate [--alg A] [--purpose P]   the next key signs from now on, of all keys or of those chosen
  compromise <kid>… [--reason R]   drop keys that somebody else may hold, at once
  rewrap                           encrypt private keys anew under the newest KEY_ENCRYPTION_KEY

  --url U   where the server answers, if that is not ISSUER`

/** What a person has to mend; told without a stack. */
class UsageError extends Error {}

const OPTIONS = {
  all: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  alg: { type: 'string' },
  purpose: { type: 'string' },
  reason: { type: 'string' },
  url: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const

/** One that begins as an option does. No option is as long. */
const DASHED_KID = /^-[\w-]{42}$/

let values: ReturnType<typeof readArguments>['values']
try {
  const { values: given, positionals } = readArguments()
  values = given
  if (values.help) console.log(USAGE)
  else await run(positionals)
} catch (error) {
  console.error(`keys: ${error instanceof Error ? error.message : error}`)
  process.exitCode = error instanceof UsageError ? 2 : 1
}

function readArguments() {
  const given = process.argv.slice(2)
  const args = given.filter((arg) => !DASHED_KID.test(arg))
  try {
    const { values, positionals } = parseArgs({ args, allowPositionals: true, options: OPTIONS })
    return { values, positionals: [...positionals, ...given.filter((arg) => DASHED_KID.test(arg))] }
  } catch (error) {
    throw new UsageError(`${(error as Error).message}\n\n${USAGE}`)
  }
}

async function run([name, ...kids]: string[]): Promise<void> {
  if (name === undefined) throw new UsageError(`what is to be done?\n\n${USAGE}`)
  if (name !== 'compromise' && kids.length > 0) throw new UsageError(`${name} takes no kid`)
  if (name === 'list') return print(await listAll())
  if (name === 'rotate') return rotate()
  if (name === 'rewrap') return rewrap()
  if (name !== 'compromise') throw new UsageError(`there is no command ${name}\n\n${USAGE}`)
  if (kids.length === 0) throw new UsageError('compromise needs a kid: npm run keys -- list')
  await compromiseAll(kids)
}

async function rotate(): Promise<void> {
  const { alg, purpose } = values
  const { data } = (await ask('POST', '/keys/rotate', { alg, purpose })) as { data: ListedKey[] }
  print(data)
}

async function rewrap(): Promise<void> {
  const done = (await ask('POST', '/keys/rewrap')) as Record<string, unknown>
  if (values.json) return printJson(done)
  console.log(
    `${done.private_keys} private keys, ${done.proofs} proofs and ${done.stream_headers} headers of streams were put under the key ${done.key_encryption_key}. ${afterwards(done.unproven as string[])}`,
  )
}

function afterwards(unproven: string[]): string {
  if (unproven.length === 0) return 'Every other value may leave KEY_ENCRYPTION_KEY.'
  return `No value proves these keys, which stay as they are: ${unproven.join(', ')}. If one of them is yours, put the earlier value back and rewrap before any value goes.`
}

/** One that cannot be dropped does not save the others. */
async function compromiseAll(kids: string[]): Promise<void> {
  const faults: string[] = []
  // The next keys first: none of them is to take over from the one before and be dropped after that.
  const next = new Set(
    (await listAll()).filter(({ status }) => status === 'next').map(({ kid }) => kid),
  )
  for (const kid of kids.toSorted((a, b) => Number(next.has(b)) - Number(next.has(a)))) {
    try {
      await compromise(kid)
    } catch (error) {
      if (error instanceof UsageError) throw error
      faults.push(`${kid}: ${(error as Error).message}`)
    }
  }
  if (faults.length > 0) throw new Error(faults.join('\nkeys: '))
}

async function compromise(kid: string): Promise<void> {
  const path = `/keys/${encodeURIComponent(kid)}/compromise`
  const done = (await ask('POST', path, { reason: values.reason })) as {
    notice: string
    complete: boolean
    sessions_ended: number
    events_signed_anew: number
    events_queued: number
    audiences: { name: string; issuer: string; told: boolean }[]
    receivers: { name: string; audience: string }[]
  }
  if (values.json) return printJson(done)
  console.log(`${kid} is dropped.\n\n${done.notice}\n`)
  console.log(
    `Sessions ended: ${done.sessions_ended}; events signed anew: ${done.events_signed_anew}; events queued: ${done.events_queued}.`,
  )
  if (!done.complete) console.log('Something was still in use: the server goes on by itself.')
  for (const { name, issuer, told } of done.audiences) {
    console.log(`  tell  ${name}  ${issuer}${told ? '  (an event is on its way)' : ''}`)
  }
  for (const { name, audience } of done.receivers) {
    console.log(`  tell  ${name}  ${audience}  (receiver of Shared Signals)`)
  }
}

async function listAll(): Promise<ListedKey[]> {
  const keys: ListedKey[] = []
  let cursor: string | null = null
  do {
    const query: string = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`
    const page = (await ask('GET', `/keys?limit=200${query}`)) as {
      data: ListedKey[]
      next_cursor: string | null
    }
    keys.push(...page.data)
    cursor = page.next_cursor
  } while (cursor !== null)
  return keys
}

function print(keys: ListedKey[]): void {
  const shown = keys.filter(
    ({ status }) => values.all || !['removed', 'compromised'].includes(status),
  )
  if (values.json) printJson(shown)
  else console.log(keyTable(shown, new Date()))
}

function printJson(value: unknown): void {
  console.log(JSON.stringify(value, null, 2))
}

async function ask(method: string, path: string, body?: object): Promise<unknown> {
  const config = loadConfig(process.env)
  const base = values.url ?? config.issuer
  if (!/^https?:$/.test(URL.parse(base)?.protocol ?? '')) {
    throw new UsageError('--url must be where the server answers, such as http://localhost:4000')
  }
  const url = `${base.replace(/\/+$/, '')}/admin/v1${path}`
  const answer = await fetch(url, {
    method,
    headers: {
      authorization: `Bearer ${adminKey(config)}`,
      ...(body && { 'content-type': 'application/json' }),
    },
    body: body ? JSON.stringify(body) : null,
  }).catch((cause) => {
    const { origin } = new URL(url)
    throw new Error(`no server answers at ${origin}: start it, or name it with --url`, { cause })
  })
  const told = (await answer.json().catch(() => ({}))) as {
    detail?: string
    title?: string
    ready_at?: string
  }
  if (answer.ok) return told
  const ready = told.ready_at === undefined ? '' : ` (${told.ready_at})`
  throw new Error(`${told.detail ?? told.title ?? `the server answered ${answer.status}`}${ready}`)
}

function adminKey({ adminApiKey, dataDir }: Config): string {
  if (adminApiKey !== undefined) return adminApiKey
  const path = join(dataDir, 'admin-api-key')
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    throw new UsageError(`set ADMIN_API_KEY: there is no ${path}`)
  }
}
