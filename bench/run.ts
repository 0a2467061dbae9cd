/** `npm run bench`: reads the options, installs what is missing, compares, prints, and stops everything. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { numbersOf, readOptions, runCommand, say, stopWith, writeResult } from './command.ts'
import { withoutSoftHsm } from './soft-hsm.ts'

const values = readOptions('bench', {
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
})

if (process.platform !== 'linux') stopWith('CPU and memory are read from /proc: Linux only')
if (!fs.existsSync(path.join(import.meta.dirname, 'node_modules/oidc-provider'))) {
  execFileSync('npm', ['--prefix', import.meta.dirname, 'ci'], { stdio: 'inherit' })
}
// imported late: they need what was just installed
const { compare } = await import('./comparison.ts')
const { printed, summarize } = await import('./report.ts')
const { NAMES } = await import('./targets.ts')

const lacking = withoutSoftHsm()
const possible = NAMES.filter((name) => name !== 'agent-idp-pkcs11' || lacking === undefined)
if (lacking !== undefined) say(`agent-idp-pkcs11 is left out: ${lacking}`)
const only = values.only?.split(',') ?? [...possible]
const unknown = only.filter((name) => !possible.some((known) => known === name))
if (unknown.length > 0) stopWith(`--only takes ${possible.join(', ')}, not ${unknown.join(', ')}`)
const within = numbersOf(values)
const options = {
  rounds: within('rounds', 1, 50),
  seconds: within('seconds', 1, 60),
  warmup: within('warmup', 0, 30),
  connections: within('connections', 1, 512),
  cases: within('cases', 1, 5000),
  starts: within('starts', 0, 20),
  port: within('port', 1024, 30_000),
  only: possible.filter((name) => only.includes(name)),
  verbose: values.verbose,
}

await runCommand(async () => {
  const comparison = await compare(options, say)
  const summary = summarize(comparison)
  process.stdout.write(`\n${printed(comparison, summary)}\n`)
  if (values.out) writeResult(values.out, { ...comparison, summary })
  return summary.faults.length === 0
})
