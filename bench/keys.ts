/** `npm run bench:keys`: what a signature costs in each custody, and what the key set costs beside a plain route. */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { numbersOf, readOptions, runCommand, say, stopWith, writeResult } from './command.ts'
import { type KeySetRound, measureKeySet } from './key-set.ts'
import { elsewhereNotes, keySetFaults, keySetLines, signingLines } from './keys-report.ts'
import { measureSigning, type SigningRound } from './signing.ts'
import { withoutSoftHsm } from './soft-hsm.ts'

const values = readOptions('bench:keys', {
  rounds: { type: 'string', default: '3' },
  seconds: { type: 'string', default: '3' },
  warmup: { type: 'string', default: '1' },
  slice: { type: 'string', default: '1' },
  connections: { type: 'string', default: '32' },
  port: { type: 'string', default: '24100' },
  out: { type: 'string' },
  verbose: { type: 'boolean', default: false },
})
if (process.platform !== 'linux') stopWith('CPU and memory are read from /proc: Linux only')
const within = numbersOf(values)
const rounds = within('rounds', 1, 50)
const options = {
  seconds: within('seconds', 1, 60),
  warmup: within('warmup', 0, 30),
  connections: within('connections', 1, 512),
  port: within('port', 1024, 30_000),
  verbose: values.verbose,
}
const slice = within('slice', 0.1, 60)

await runCommand(async () => {
  const lacking = withoutSoftHsm()
  const signing = lacking === undefined ? await signed() : []
  const keySet: KeySetRound[] = []
  for (let round = 0; round < rounds; round++) {
    keySet.push(await measureKeySet(options, round))
    say(`round ${round + 1}: key set`)
  }
  const faults = keySetFaults(keySet)
  const lines = [
    `${rounds} rounds: ${slice} s of signatures, ${options.seconds} s of reading by ${options.connections} connections`,
    `Node.js ${process.version}, ${os.availableParallelism()} × ${os.cpus()[0]?.model}`,
    '',
    ...(lacking === undefined ? signingLines(signing) : [`Signatures were left out: ${lacking}`]),
    '',
    ...keySetLines(keySet),
    ...elsewhereNotes(keySet, os.availableParallelism()),
    ...(faults.length > 0 ? ['', 'NOT A RESULT:', ...faults.map((fault) => `  ${fault}`)] : []),
  ]
  process.stdout.write(`\n${lines.join('\n')}\n`)
  if (values.out) writeResult(values.out, { rounds, slice, options, signing, keySet, faults })
  return faults.length === 0
})

async function signed(): Promise<SigningRound[]> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'agent-idp-bench-'))
  try {
    return await measureSigning({ rounds, slice, dir }, say)
  } finally {
    fs.rmSync(dir, { recursive: true, force: true })
  }
}
