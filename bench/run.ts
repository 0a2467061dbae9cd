/** `npm run bench`: reads the options, installs what is missing, compares, prints, and stops everything. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { killAll, stopAll } from './processes.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '5' },
    warmup: { type: 'string', default: '2' },
    connections: { type: 'string', default: '32' },
    cases: { type: 'string', default: '200' },
    starts: { type: 'string', default: '3' },
    only: { type: 'string' },
    port: { type: 'string', default: '24100' },
    out: { type: 'string' },
    verbose: { type: 'boolean', default: false },
  },
})

if (process.platform !== 'linux') stopWith('CPU and memory are read from /proc: Linux only')
if (!fs.existsSync(path.join(import.meta.dirname, 'node_modules/oidc-provider'))) {
  execFileSync('npm', ['--prefix', import.meta.dirname, 'ci'], { stdio: 'inherit' })
}
// imported late: they need what was just installed
const { compare } = await import('./comparison.ts')
const { printed, summarize } = await import('./report.ts')
const { NAMES } = await import('./targets.ts')

let interrupted = false
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    interrupted = true
    void stopAll()
  })
}
process.on('exit', killAll)

const only = values.only?.split(',') ?? [...NAMES]
const unknown = only.filter((name) => !NAMES.some((known) => known === name))
if (unknown.length > 0) stopWith(`--only takes ${NAMES.join(', ')}, not ${unknown.join(', ')}`)
const options = {
  rounds: within('rounds', 1, 50),
  seconds: within('seconds', 1, 60),
  warmup: within('warmup', 0, 30),
  connections: within('connections', 1, 512),
  cases: within('cases', 1, 5000),
  starts: within('starts', 0, 20),
  port: within('port', 1024, 30_000),
  only: NAMES.filter((name) => only.includes(name)),
  verbose: values.verbose,
}

try {
  const comparison = await compare(options, (line) => process.stderr.write(`${line}\n`))
  const summary = summarize(comparison)
  process.stdout.write(`\n${printed(comparison, summary)}\n`)
  if (values.out) write(values.out, { ...comparison, summary })
  process.exitCode = summary.faults.length > 0 ? 1 : 0
} catch (error) {
  if (!interrupted) process.stderr.write(`${error instanceof Error ? error.message : error}\n`)
  process.exitCode = interrupted ? 130 : 1
}

/** A bare name lands in results/, which git ignores. */
function write(name: string, result: unknown): void {
  const results = path.join(import.meta.dirname, 'results')
  const file =
    path.basename(name) === name
      ? path.join(results, name)
      : path.resolve(process.env.INIT_CWD ?? '', name)
  fs.mkdirSync(path.dirname(file), { recursive: true })
  fs.writeFileSync(file, `${JSON.stringify(result, null, 2)}\n`)
}

function within(
  name: Exclude<keyof typeof values, 'only' | 'out' | 'verbose'>,
  least: number,
  most: number,
): number {
  const value = Number(values[name])
  if (!(value >= least && value <= most)) stopWith(`--${name} takes ${least} to ${most}`)
  return value
}

function stopWith(message: string): never {
  process.stderr.write(`${message}\n`)
  process.exit(2)
}
