/** What the commands of the bench have in common: options, numbers among them, results in files, an orderly end. */
import fs from 'node:fs'
import path from 'node:path'
import { type ParseArgsOptionsConfig, parseArgs } from 'node:util'
import { killAll, stopAll } from './processes.ts'

/** Does it, and stops whatever runs then; `work` says whether what came out is a result. */
export async function runCommand(work: () => Promise<boolean>): Promise<void> {
  let interrupted = false
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      interrupted = true
      void stopAll()
    })
  }
  process.on('exit', killAll)
  try {
    process.exitCode = (await work()) ? 0 : 1
  } catch (error) {
    if (!interrupted) process.stderr.write(`${error instanceof Error ? error.message : error}\n`)
    process.exitCode = interrupted ? 130 : 1
  }
}

/** What was asked for; for `--help`, and where an option is unknown, it says how `command` is used, and ends. */
export function readOptions<const Options extends ParseArgsOptionsConfig>(
  command: string,
  options: Options,
) {
  const lines = Object.entries(options).map(([name, { type, default: standard }]) =>
    type === 'boolean' ? `  --${name}` : `  --${name} ${standard ?? '…'}`,
  )
  const usage = [`npm run ${command} -- [options]`, '', ...lines, '', '(bench/README.md)'].join(
    '\n',
  )
  if (process.argv.includes('--help')) {
    process.stdout.write(`${usage}\n`)
    process.exit(0)
  }
  try {
    return parseArgs({ options }).values
  } catch (error) {
    return stopWith(`${(error as Error).message}\n\n${usage}`)
  }
}

/** Reads options that are numbers. */
export function numbersOf<Name extends string>(values: Partial<Record<Name, unknown>>) {
  return (name: Name, least: number, most: number): number => {
    const value = Number(values[name])
    if (!(value >= least && value <= most)) stopWith(`--${name} takes ${least} to ${most}`)
    return value
  }
}

/** Progress; results alone go to standard output. */
export function say(line: string): void {
  process.stderr.write(`${line}\n`)
}

/** A bare name lands in results/, which git ignores. */
export function writeResult(name: string, result: unknown): void {
  const results = path.join(import.meta.dirname, 'results')
  const file =
    path.basename(name) === name
      ? path.join(results, name)
      : path.resolve(process.env.INIT_CWD ?? '', name)
  fs.mkdirSync(path.dirname(file), { recursive: true })
  fs.writeFileSync(file, `${JSON.stringify(result, null, 2)}\n`)
}

export function stopWith(message: string): never {
  process.stderr.write(`${message}\n`)
  process.exit(2)
}
