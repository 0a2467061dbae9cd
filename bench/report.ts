/** From the turns to medians, ratios and a verdict. */
import type { Comparison, Turn } from './comparison.ts'
import { aligned, ratio, type Spread, spreadOf } from './spread.ts'
import { NAMES, type Name } from './targets.ts'

export interface Summary {
  targets: Partial<Record<Name, Record<string, number>>>
  /** Round by round, then the median: `agent-idp / ceiling`. */
  ratios: Record<string, Spread>
  startMs: { first: number | null; later: number | null }
  /** Why this run is not a result. */
  faults: string[]
  notes: string[]
}

const COLUMNS: [title: string, digits: number, of: (turn: Turn) => number][] = [
  ['req/s', 0, (turn) => turn.requestsPerSecond],
  ['p50 ms', 1, (turn) => turn.p50Ms],
  ['p99 ms', 1, (turn) => turn.p99Ms],
  ['server µs', 0, (turn) => turn.cpu.server],
  ['postgres µs', 0, (turn) => turn.cpu.postgres],
  ['generator µs', 0, (turn) => turn.cpu.generator],
  ['idle MB', 1, (turn) => turn.idleMb],
  ['loaded MB', 1, (turn) => turn.loadedMb],
  ['ready ms', 0, (turn) => turn.readyMs],
]

export function summarize(comparison: Comparison): Summary {
  const { turns, starts, machine } = comparison
  const targets: Summary['targets'] = {}
  const ratios: Summary['ratios'] = {}
  const faults: string[] = []
  const notes: string[] = []
  for (const name of NAMES) {
    const own = turns[name]
    if (!own) continue
    const medians = COLUMNS.map(([title, , of]) => [title, spreadOf(own.map(of)).median])
    targets[name] = Object.fromEntries(medians)
    for (const [round, turn] of own.entries()) faults.push(...faultsOf(name, round, turn))
    if (own.some(({ signedLate }) => signedLate > 0)) {
      notes.push(`${name}: the generator had to sign assertions while it measured`)
    }
    const elsewhere = spreadOf(own.map((turn) => turn.coresElsewhere)).median
    if (elsewhere > machine.cores * 0.15) {
      notes.push(`${name}: ${elsewhere.toFixed(1)} cores were busy with something else`)
    }
  }
  for (const [one, other] of [
    ['agent-idp', 'ceiling'],
    ['oidc-provider', 'ceiling'],
    ['agent-idp', 'oidc-provider'],
    ['agent-idp-dpop', 'agent-idp'],
    ['agent-idp-pkcs11', 'agent-idp'],
  ] as const) {
    const rates = (turns[one] ?? []).flatMap((turn, round) => {
      const beside = turns[other]?.[round]
      return beside ? [turn.requestsPerSecond / beside.requestsPerSecond] : []
    })
    if (rates.length > 0) ratios[`${one} / ${other}`] = spreadOf(rates)
  }
  if (!machine.onDisk) faults.push('the database lay in memory: set TMPDIR to a folder on a disk')
  const median = (values: number[]) => (values.length > 0 ? spreadOf(values).median : null)
  const startMs = { first: median(starts.first), later: median(starts.later) }
  return { targets, ratios, startMs, faults, notes }
}

export function printed({ machine, options }: Comparison, summary: Summary): string {
  const { rounds, seconds, connections } = options
  const head = ['', ...COLUMNS.map(([title]) => title)]
  const rows = Object.entries(summary.targets).map(([name, medians]) => [
    name,
    ...COLUMNS.map(([title, digits]) => (medians[title] ?? NaN).toFixed(digits)),
  ])
  const lines = [
    `${rounds} rounds of ${seconds} s, ${connections} connections, ${options.cases} cases`,
    `Node.js ${machine.node}, PostgreSQL ${machine.postgres}, ${machine.cores} × ${machine.cpu}`,
    '',
    ...aligned([head, ...rows]),
    '',
  ]
  for (const [name, spread] of Object.entries(summary.ratios)) {
    lines.push(`${name.padEnd(30)}${ratio(spread)}, round by round`)
  }
  const { first, later } = summary.startMs
  if (first !== null && later !== null) {
    lines.push(
      `agent-idp, embedded Postgres: ready after ${first.toFixed(0)} ms on an empty DATA_DIR, ` +
        `${later.toFixed(0)} ms later on (median of ${options.starts})`,
    )
  }
  lines.push(...summary.notes.map((note) => `note: ${note}`))
  if (summary.faults.length > 0) {
    lines.push('', 'NOT A RESULT:', ...summary.faults.map((fault) => `  ${fault}`))
  }
  return lines.join('\n')
}

function faultsOf(name: Name, round: number, turn: Turn): string[] {
  const where = `${name}, round ${round + 1}`
  const faults: string[] = []
  if (turn.errorCount > 0) faults.push(`${where}: ${turn.errorCount} errors: ${turn.errors[0]}`)
  if (turn.verified === 0) faults.push(`${where}: no answer was verified`)
  return faults
}
