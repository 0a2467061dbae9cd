import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { root } from './targets.ts'

export type TestRun = {
  test: string
  /** `TEST_SERVER` of the process. */
  server: string
  /** Seconds. */
  patience: number
  signal: AbortSignal
  /** Ends with the first failure, once that is all one wants to know. */
  untilFailure: boolean
  /** The one file that is not as it is on the disk. */
  replaced?: { file: string; source: string }
}
export type Result = {
  verdict: 'passed' | 'failed' | 'timed out'
  seconds: number
  /** The files of src/ that the test had need of. */
  loaded: Set<string>
  /** From the first failure on. */
  output: string[]
}

/** One test file in a process of its own. */
export async function runTest(run: TestRun): Promise<Result> {
  const began = performance.now()
  const child = start(run)
  const loaded = new Set<string>()
  const output: string[] = []
  let verdict: Result['verdict'] | undefined
  const end = (how: Result['verdict']) => {
    verdict ??= how
    killGroup(child)
  }
  child.on('message', (url) => loaded.add(String(url).slice(`${pathToFileURL(root)}/`.length)))
  for (const stream of [child.stdout, child.stderr]) {
    if (!stream) continue
    createInterface(stream).on('line', (line) => {
      output.push(line)
      if (run.untilFailure && FAILURE.test(line)) end('failed')
    })
  }
  const abort = () => end('failed')
  const timer = setTimeout(() => end('timed out'), run.patience * 1000)
  run.signal.addEventListener('abort', abort)
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', resolve)
  })
  clearTimeout(timer)
  run.signal.removeEventListener('abort', abort)
  verdict ??= code === 0 ? 'passed' : 'failed'
  return {
    verdict,
    seconds: (performance.now() - began) / 1000,
    loaded,
    output: output.slice(
      Math.max(
        0,
        output.findIndex((line) => FAILURE.test(line)),
      ),
    ),
  }
}

/** In TAP. */
const FAILURE = /^\s*not ok /

/** In a process group of its own, so that what the test has started ends with it. */
const start = ({ test, server, replaced }: TestRun): ChildProcess =>
  spawn(
    process.execPath,
    ['--import', './test/mutation/replace-source.ts', '--test-reporter=tap', test],
    {
      cwd: root,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env: {
        ...process.env,
        TEST_SERVER: server,
        ...(replaced && {
          MUTANT_URL: pathToFileURL(join(root, replaced.file)).href,
          MUTANT_SOURCE: replaced.source,
        }),
      },
    },
  )

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // It has ended by itself.
  }
}
