/** Relying apps by a script (scripted-app.ts), as a test starts them, and what they have on record. */

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Answering, AppKind } from './app-script.ts'

export type Plan = { file: string; seed: string; apps: readonly AppKind[] }

/** A line of the record. Without `jti` nothing was read: the connection came to nothing before. */
export type Receipt = {
  app: AppKind
  /** Milliseconds since 1970, once the event had been read. */
  at: number
  answer: string
  accepted: boolean
  jti?: string
  sub?: string
  aud?: string
  /** SHA-256 of the body, in hex. */
  bytes?: string
  /** Since when another request with this `jti` was waiting for its answer then. */
  beside?: number | undefined
}

/** To the test: where the apps are, or that one of them waits to be told what to answer. */
export type Told = { endpoints: Record<AppKind, string> } | { held: string }
/** From the test: what to answer to whoever has waited longest with this `jti`, or to the last that came. */
export type Said = { release: Answering; jti: string; to: 'first' | 'last' }

export type ScriptedApps = {
  endpoints: Record<AppKind, string>
  /** The `jti` of each event that an app holds back or held back, as often as it came. */
  held: readonly string[]
  /** The request with this `jti` that has waited longest, or the last that came, is answered. */
  release(jti: string, answer: Answering, to?: Said['to']): void
  receipts(): Receipt[]
}

type Surroundings = { after(end: () => Promise<void>): void }

export async function startScriptedApps(
  t: Surroundings,
  { seed, apps }: Omit<Plan, 'file'>,
): Promise<ScriptedApps> {
  const folder = mkdtempSync(join(tmpdir(), 'agent-idp-apps-'))
  const file = join(folder, 'receipts')
  const plan: Plan = { file, seed, apps }
  const child = fork(join(import.meta.dirname, 'scripted-app.ts'), [JSON.stringify(plan)], {
    execArgv: [],
  })
  const ended = once(child, 'exit')
  t.after(async () => {
    child.kill('SIGKILL')
    await ended
    rmSync(folder, { recursive: true, force: true })
  })
  const held: string[] = []
  const endpoints = await new Promise<ScriptedApps['endpoints']>((resolve, reject) => {
    child.on('message', (told: Told) => {
      if ('held' in told) held.push(told.held)
      else resolve(told.endpoints)
    })
    ended.then(() => reject(new Error('the apps ended')), reject)
  })
  return {
    endpoints,
    held,
    release(jti, release, to = 'first') {
      child.send({ release, jti, to } satisfies Said)
    },
    receipts: () =>
      readFileSync(file, 'utf8')
        .split('\n')
        .filter((line) => line !== '')
        .map((line): Receipt => JSON.parse(line)),
  }
}
