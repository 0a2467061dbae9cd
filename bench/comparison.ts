/**
 * One comparison: a Postgres, the targets on it, and rounds in which each of them is started, left idle,
 * loaded and stopped in turn. Only what was measured in the same round is set in relation.
 */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { exchangeForm, type Fixture } from './fixture.ts'
import type { MeasuredExchanges, Plan } from './generator.ts'
import { assertionHeader, clientAssertion, privateKeyOf } from './jwt.ts'
import { freePorts } from './ports.ts'
import { connectWhenUp, type Postgres, startPostgres } from './postgres.ts'
import { privateDirtyMb, runProgram } from './processes.ts'
import { agentIdpAt, type Name, ROOT, startAgentIdp, type Target, targetOf } from './targets.ts'

export interface Options {
  rounds: number
  seconds: number
  warmup: number
  connections: number
  cases: number
  starts: number
  only: Name[]
  port: number
  verbose: boolean
}

export interface Turn extends MeasuredExchanges {
  readyMs: number
  idleMb: number
}

export interface Comparison {
  machine: { node: string; postgres: string; cpu: string; cores: number; onDisk: boolean }
  options: Options
  turns: Partial<Record<Name, Turn[]>>
  /** Milliseconds to /readyz of agent-idp with its embedded Postgres, on an empty DATA_DIR and later. */
  starts: { first: number[]; later: number[] }
}

const LATER_STARTS = 2

export async function compare(options: Options, say: (line: string) => void): Promise<Comparison> {
  const port = await freePorts(options.port, options.only.length + 1)
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'agent-idp-bench-'))
  let postgres: Postgres | undefined
  try {
    const starts = await timeStarts(options, dir, port, say)
    postgres = await startPostgres(port, ROOT)
    const targets = await prepare(options, dir, port, postgres, say)
    const turns: Comparison['turns'] = {}
    for (let round = 0; round < options.rounds; round++) {
      // another one begins each time, so that no target always follows the same neighbour
      const shift = round % targets.length
      for (const each of [...targets.slice(shift), ...targets.slice(0, shift)]) {
        const turn = await takeTurn(each, options, postgres, round === 0)
        turns[each.target.name] = [...(turns[each.target.name] ?? []), turn]
        const rate = turn.requestsPerSecond.toFixed(0)
        say(`round ${round + 1}: ${each.target.name} ${rate}/s, ${turn.errorCount} errors`)
      }
    }
    const machine = {
      node: process.version,
      postgres: postgres.version,
      cpu: os.cpus()[0]?.model ?? '',
      cores: os.availableParallelism(),
      onDisk: postgres.onDisk,
    }
    return { machine, options, turns, starts }
  } finally {
    await postgres?.stop()
    fs.rmSync(dir, { recursive: true, force: true })
  }
}

interface Prepared {
  target: Target
  fixture: Fixture
}

async function prepare(
  { only, cases, verbose }: Options,
  dir: string,
  port: number,
  postgres: Postgres,
  say: (line: string) => void,
): Promise<Prepared[]> {
  const db = await connectWhenUp(postgres.url('postgres'))
  try {
    const prepared: Prepared[] = []
    for (const [n, name] of only.entries()) {
      const database = `bench_${n}`
      await db.query(`create database ${database}`)
      const databaseUrl = postgres.url(database)
      const target = targetOf(name, { dir, port: port + 1 + n, databaseUrl, verbose })
      const from = performance.now()
      const fixture = await target.seed(cases)
      const seconds = ((performance.now() - from) / 1000).toFixed(1)
      say(`${name}: ${cases} users, agents and delegations in ${seconds} s`)
      prepared.push({ target, fixture })
    }
    await db.query('checkpoint')
    return prepared
  } finally {
    await db.end()
  }
}

async function takeTurn(
  { target, fixture }: Prepared,
  { connections, seconds, warmup }: Options,
  postgres: Postgres,
  first: boolean,
): Promise<Turn> {
  const server = await target.start()
  try {
    await sleep(1000)
    const idleMb = privateDirtyMb(server.pid)
    if (first && target.refusesReplay) await requireReplayRefused(fixture)
    const pids = { serverPid: server.pid, postgresPid: postgres.pid }
    const plan: Plan = { fixture, connections, seconds, warmup, ...pids }
    const measured = (await runProgram('generator.ts', plan)) as MeasuredExchanges
    fixture.expected_rps = Math.max(fixture.expected_rps, measured.requestsPerSecond * 1.2)
    return { readyMs: server.readyMs, idleMb, ...measured }
  } finally {
    await server.stop()
  }
}

/** Work left out would look like speed: of one assertion presented eight times at once, one may win. */
async function requireReplayRefused(fixture: Fixture): Promise<void> {
  const [of] = fixture.cases
  if (!of) throw new Error('no cases')
  const key = privateKeyOf(of.jwk)
  const header = assertionHeader(of.jwk)
  const assertion = clientAssertion(header, of.client_id, fixture.assertion_audience, key)
  const ask = async () => {
    const answer = await fetch(fixture.token_endpoint, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: exchangeForm(of) + assertion,
    })
    return { status: answer.status, body: await answer.text() }
  }
  const answers = await Promise.all(Array.from({ length: 8 }, ask))
  const won = answers.filter(({ status }) => status === 200).length
  if (won === 1) return
  const example = answers[0]?.body.slice(0, 300)
  throw new Error(
    won > 1
      ? `${fixture.name} took one assertion ${won} times`
      : `${fixture.name} refuses: ${example}`,
  )
}

async function timeStarts(
  { only, starts, verbose }: Options,
  dir: string,
  port: number,
  say: (line: string) => void,
): Promise<Comparison['starts']> {
  const times: Comparison['starts'] = { first: [], later: [] }
  if (!only.includes('agent-idp')) return times
  for (let n = 0; n < starts; n++) {
    const dataDir = path.join(dir, `start-${n}`)
    for (let again = 0; again <= LATER_STARTS; again++) {
      const server = await startAgentIdp(agentIdpAt(port, dataDir), verbose)
      times[again === 0 ? 'first' : 'later'].push(server.readyMs)
      await server.stop()
    }
    say(`start ${n + 1}: ${times.first.at(-1)?.toFixed(0)} ms on an empty DATA_DIR`)
  }
  return times
}
