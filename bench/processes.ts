/** Starts and stops what the bench runs, and reads its CPU time and memory from Linux' /proc. */
import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { json } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'

/** What runs, with the signal that asks it to end. */
const children = new Map<ChildProcess, NodeJS.Signals>()
let closing = false

export interface Server {
  pid: number
  /** Milliseconds from the start of the process to the first 200 of its ready path. */
  readyMs: number
  stop(): Promise<void>
}

interface Command {
  args: string[]
  cwd: string
  env: Record<string, string>
  readyUrl: string
  verbose: boolean
}

/** @throws when the server ends, or is not ready within a minute. */
export async function startServer(command: Command): Promise<Server> {
  const started = performance.now()
  const output = command.verbose ? process.stderr : 'ignore'
  const child = startChild(process.execPath, command.args, {
    cwd: command.cwd,
    env: { ...neutralEnvironment(), ...command.env },
    stdio: ['ignore', output, output],
  })
  const pid = child.pid
  if (pid === undefined) throw new Error(`cannot start ${command.args.join(' ')}`)
  const stop = () => stopChild(child)
  try {
    while (!(await answersOk(command.readyUrl))) {
      if (child.exitCode !== null || child.signalCode !== null) throw new Error('ended early')
      if (performance.now() - started > 60_000) throw new Error('not ready within 60 s')
      await sleep(5)
    }
  } catch (error) {
    await stop()
    const why = error instanceof Error ? error.message : error
    throw new Error(`${command.args.join(' ')}: ${why}; --verbose shows what it says`)
  }
  return { pid, readyMs: performance.now() - started, stop }
}

/** Runs a program of the bench to its end: a plan goes in, what it measured comes out. */
export async function runProgram(name: string, plan: object): Promise<unknown> {
  const program = path.join(import.meta.dirname, name)
  const child = startChild(process.execPath, [program], { stdio: ['pipe', 'pipe', 'inherit'] })
  if (!child.stdin || !child.stdout) throw new Error(`cannot start ${name}`)
  const exit = once(child, 'exit')
  child.stdin.end(JSON.stringify(plan))
  const measured = json(child.stdout).catch(() => undefined)
  const [status] = await exit
  if (status !== 0) throw new Error(`${name} ended with ${status}`)
  return measured
}

/** @throws once everything is being stopped: nothing new starts then. */
export function startChild(
  file: string,
  args: string[],
  options: SpawnOptions,
  stopSignal: NodeJS.Signals = 'SIGTERM',
): ChildProcess {
  if (closing) throw new Error('stopped')
  const child = spawn(file, args, options)
  children.set(child, stopSignal)
  child.once('exit', () => children.delete(child))
  child.once('error', () => children.delete(child))
  return child
}

/** Asks first; what has not ended after `patience` seconds is killed with all it started. */
export async function stopChild(child: ChildProcess, patience = 15): Promise<void> {
  const stopSignal = children.get(child)
  if (child.pid === undefined || stopSignal === undefined) return
  const ended = new Promise<true>((resolve) => child.once('exit', () => resolve(true)))
  child.kill(stopSignal)
  if (await Promise.race([ended, sleep(patience * 1000, false, { ref: false })])) return
  for (const pid of processTree(child.pid).reverse()) kill(pid)
  await ended
}

export async function stopAll(): Promise<void> {
  closing = true
  await Promise.all([...children.keys()].map((child) => stopChild(child, 5)))
}

/** For the very end, when there is no time to wait: nothing the bench started outlives it. */
export function killAll(): void {
  for (const { pid } of children.keys()) {
    if (pid !== undefined) for (const each of processTree(pid).reverse()) kill(each)
  }
}

/** The caller's environment without what would configure a server, npm's variables included. */
export function neutralEnvironment(): Record<string, string> {
  const kept: Record<string, string> = {}
  for (const name of ['PATH', 'HOME', 'USER', 'LANG', 'TMPDIR']) {
    const value = process.env[name]
    if (value !== undefined) kept[name] = value
  }
  return kept
}

/** CPU seconds of a process and its descendants; those that ended and were waited for count too. */
export function cpuSeconds(root: number): number {
  let ticks = 0
  for (const pid of processTree(root)) ticks += readStat(pid)?.ticks ?? 0
  return ticks / ticksPerSecond()
}

/** CPU seconds the whole machine has worked since it started. */
export function machineCpuSeconds(): number {
  const [first = ''] = fs.readFileSync('/proc/stat', 'utf8').split('\n')
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = first
    .split(/\s+/)
    .slice(1)
    .map(Number)
  return (user + nice + system + irq + softirq) / ticksPerSecond()
}

/** Private dirty memory of a process and its descendants: what ending them would give back. */
export function privateDirtyMb(root: number): number {
  let kilobytes = 0
  for (const pid of processTree(root)) {
    try {
      const rollup = fs.readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
      kilobytes += Number(/^Private_Dirty:\s+(\d+)/m.exec(rollup)?.[1] ?? 0)
    } catch {
      // it ended meanwhile
    }
  }
  return kilobytes / 1024
}

async function answersOk(url: string): Promise<boolean> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(2000) })
    await answer.arrayBuffer()
    return answer.ok
  } catch {
    return false
  }
}

function processTree(root: number): number[] {
  const childrenOf = new Map<number, number[]>()
  for (const name of fs.readdirSync('/proc')) {
    const pid = Number(name)
    const stat = Number.isInteger(pid) ? readStat(pid) : undefined
    if (stat) childrenOf.set(stat.parent, [...(childrenOf.get(stat.parent) ?? []), pid])
  }
  const tree = [root]
  for (const pid of tree) tree.push(...(childrenOf.get(pid) ?? []))
  return tree
}

/** proc_pid_stat(5): the command's name may hold spaces and parentheses, so count from its end. */
function readStat(pid: number): { parent: number; ticks: number } | undefined {
  try {
    const text = fs.readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    const times = fields.slice(11, 15).map(Number)
    return { parent: Number(fields[1]), ticks: times.reduce((sum, time) => sum + time, 0) }
  } catch {
    return undefined
  }
}

let ticksKnown: number | undefined
function ticksPerSecond(): number {
  ticksKnown ??= Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }))
  return ticksKnown
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // it ended meanwhile
  }
}
