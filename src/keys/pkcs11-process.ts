import { fork } from 'node:child_process'
import { CustodyError } from './custody.ts'
import type { Answered, Fault, HostAnswers, HostRequest } from './pkcs11-host.ts'

/** What the host says it could not do, or that it is gone. */
export class HostFault extends CustodyError {
  readonly kind: Fault['kind']

  constructor({ message, kind }: Fault) {
    super(`PKCS#11: ${message}`)
    this.kind = kind
  }
}

/** A host that runs. */
export type HostProcess = {
  pid: number | undefined
  /** `limit`: milliseconds until the host counts as hung and is ended. @throws {HostFault} */
  ask<R extends HostRequest>(request: R, limit: number): Promise<HostAnswers[R['op']]>
  /** Ends it when everything asked of it is answered. */
  retire(): void
  kill(): void
  ended: Promise<void>
}

type Waiting = {
  resolve(answer: never): void
  reject(fault: HostFault): void
  timer: NodeJS.Timeout
}

/** `onEnd`: it is of no use any more. Called before anything fails for that reason. */
export function startHost(
  program: URL,
  env: Record<string, string | undefined>,
  onEnd: () => void,
): HostProcess {
  // What a module prints is nobody's: it may be a PIN.
  const child = fork(program, [], {
    env,
    execArgv: [],
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  })
  const waiting = new Map<number, Waiting>()
  let count = 0
  let retired = false

  const settle = (number: number): Waiting | undefined => {
    const one = waiting.get(number)
    waiting.delete(number)
    clearTimeout(one?.timer)
    if (retired && waiting.size === 0) child.kill('SIGKILL')
    return one
  }
  const refuse = (number: number, message: string) =>
    settle(number)?.reject(new HostFault({ message, kind: 'other' }))

  child.on('message', (message: Answered | null) => {
    // The module shares the channel's process, and may write what it likes.
    if (typeof message?.number !== 'number') return
    const one = settle(message.number)
    if ('fault' in message) one?.reject(new HostFault(message.fault))
    else one?.resolve(message.answer as never)
  })
  const ended = new Promise<void>((resolve) => {
    const end = (why: string) => {
      onEnd()
      for (const number of waiting.keys()) refuse(number, `the host of the module ended (${why})`)
      resolve()
    }
    child.once('exit', (code, signal) => end(signal ?? `exit code ${code}`))
    child.once('error', (error) => end(error.message))
  })

  return {
    pid: child.pid,
    ended,
    ask(request, limit) {
      const number = count++
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          onEnd()
          refuse(number, `the module did not answer within ${limit / 1000} s`)
          child.kill('SIGKILL')
        }, limit)
        waiting.set(number, { resolve, reject, timer })
        child.send({ number, request }, (error) => {
          if (!error) return
          // Before its exit is known: whoever asks again meanwhile needs another one.
          onEnd()
          refuse(number, 'the host of the module is gone')
          child.kill('SIGKILL')
        })
      })
    },
    retire() {
      retired = true
      if (waiting.size === 0) child.kill('SIGKILL')
    },
    kill: () => void child.kill('SIGKILL'),
  }
}
