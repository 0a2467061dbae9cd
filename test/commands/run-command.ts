import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'

const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url))

export type Ran = { code: number | null; out: string; err: string }

/** A command of `src/commands` as a terminal would run it, with no setting but those given. */
export async function runCommand(
  name: string,
  args: readonly string[],
  environment: Record<string, string | undefined>,
): Promise<Ran> {
  const child = spawn(process.execPath, [`src/commands/${name}.ts`, ...args], {
    cwd: REPOSITORY,
    env: { PATH: process.env.PATH, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [out, err, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ])
  return { code, out, err }
}
