/** `npm run bench:revocation`: from the answer to a revocation until the relying app has accepted its event. */
import os from 'node:os'
import { numbersOf, readOptions, runCommand, say, stopWith, writeResult } from './command.ts'
import { type CutOff, measureCutOff } from './cut-off.ts'
import { aligned, ratio, type Spread, spreadOf } from './spread.ts'

const values = readOptions('bench:revocation', {
  singles: { type: 'string', default: '300' },
  warmup: { type: 'string', default: '100' },
  rounds: { type: 'string', default: '5' },
  'at-once': { type: 'string', default: '1000' },
  port: { type: 'string', default: '24100' },
  out: { type: 'string' },
  verbose: { type: 'boolean', default: false },
})
// Elsewhere two processes have no clock in common.
if (process.platform !== 'linux') stopWith('Times of two processes are compared: Linux only')
const within = numbersOf(values)
const options = {
  singles: within('singles', 10, 10_000),
  warmup: within('warmup', 0, 1_000),
  rounds: within('rounds', 1, 50),
  atOnce: within('at-once', 10, 10_000),
  port: within('port', 1024, 30_000),
  verbose: values.verbose,
}

const QUANTILES: [name: string, at: number][] = [
  ['p50', 0.5],
  ['p95', 0.95],
  ['p99', 0.99],
  ['last', 1],
]

await runCommand(async () => {
  const measured = await measureCutOff(options, say)
  if (!measured.onDisk) {
    measured.faults.push('the database lay in memory: set TMPDIR to a folder on a disk')
  }
  process.stdout.write(`\n${printed(measured).join('\n')}\n`)
  if (values.out) writeResult(values.out, { options, ...measured })
  return measured.faults.length === 0
})

function printed({ one, many, faults, postgres }: CutOff): string[] {
  const accepted = many.flatMap((round) => round.accepted)
  const posted = many.flatMap((round) => round.posted)
  const answered = many.map((round) => round.answered)
  const { rounds, atOnce, singles } = options
  return [
    `${singles} delegations one at a time; ${rounds} kill switches of ${atOnce} delegations each`,
    `Node.js ${process.version}, PostgreSQL ${postgres}, ${os.availableParallelism()} × ${os.cpus()[0]?.model}`,
    '',
    ...aligned([
      ['milliseconds', ...QUANTILES.map(([name]) => name)],
      row('1: revocation asked → answered', one.answered),
      row('1: answered → event accepted', one.accepted),
      row('1: the same bytes, posted', one.posted),
      row(`${atOnce}: revocation asked → answered`, answered),
      row(`${atOnce}: answered → each event accepted`, accepted),
      row(`${atOnce}: the same bytes, posted`, posted),
    ]),
    '',
    'How many times the bare posts it takes:',
    ...QUANTILES.slice(0, 3).map(
      ([name, at]) => `  1, ${name}: ${times([one], at).median.toFixed(1)}`,
    ),
    ...QUANTILES.map(
      ([name, at]) => `  ${atOnce}, ${name}: ${ratio(times(many, at))}, round by round`,
    ),
    ...(faults.length > 0 ? ['', 'NOT A RESULT:', ...faults.map((fault) => `  ${fault}`)] : []),
  ]
}

function row(name: string, values: number[]): string[] {
  return [name, ...QUANTILES.map(([, at]) => quantile(values, at).toFixed(1))]
}

function times(rounds: { accepted: number[]; posted: number[] }[], at: number): Spread {
  return spreadOf(
    rounds.map(({ accepted, posted }) => quantile(accepted, at) / quantile(posted, at)),
  )
}

function quantile(values: number[], at: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(at * sorted.length))] ?? NaN
}
