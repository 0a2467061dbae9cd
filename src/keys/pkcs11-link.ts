import { setTimeout as pause } from 'node:timers/promises'
import { sameText } from '../oauth/secret.ts'
import { CustodyError } from './custody.ts'
import type { HostAnswers, HostRequest, OpenRequest } from './pkcs11-host.ts'
import { HostFault, type HostProcess } from './pkcs11-process.ts'

/**
 * A host that is there when it is needed, one at a time: the first request starts it, and the one after it
 * ended starts the next. A host whose session with the token is lost answers what it can and is replaced;
 * what failed so is asked once more. One whose module keeps failing is replaced as well. A PIN that the token
 * refused is not tried again.
 */
export type Link = {
  /** Starts the host before there is anything to ask. @throws {CustodyError} */
  ready(): Promise<void>
  /** @throws {CustodyError} */
  ask<R extends HostRequest>(request: R): Promise<HostAnswers[R['op']]>
  close(): Promise<void>
}

/** Milliseconds. Tokens take their time for RSA keys. */
const LIMIT = 10_000
const LIMIT_TO_GENERATE = 60_000
const LONGEST_PAUSE = 5_000
/** Failures of a module, without an answer between them, after which another host is tried. */
const MOST_FAULTS = 3

export function keepHost(
  requestToOpen: () => Promise<OpenRequest>,
  launch: (onEnd: () => void) => HostProcess,
): Link {
  let running: Promise<HostProcess> | undefined
  let closed = false
  /** In a row, without an answer between them. */
  let failures = 0
  /** Of the module that runs, in a row. */
  let faults = 0
  let refused: { pin: string; error: HostFault } | undefined

  return {
    async ready() {
      await current()
    },
    async ask(request) {
      try {
        return await askOnce(request)
      } catch (error) {
        if (!(error instanceof HostFault && error.kind === 'lost')) throw error
        return askOnce(request)
      }
    },
    async close() {
      closed = true
      const host = await running?.catch(() => undefined)
      // A module that hangs or crashes on the way out has nothing left to lose.
      await host?.ask({ op: 'close' }, LIMIT).catch(() => undefined)
      host?.kill()
      await host?.ended
    },
  }

  async function askOnce<R extends HostRequest>(request: R): Promise<HostAnswers[R['op']]> {
    const asked = current()
    const host = await asked
    try {
      const answer = await host.ask(request, request.op === 'generate' ? LIMIT_TO_GENERATE : LIMIT)
      failures = 0
      faults = 0
      return answer
    } catch (error) {
      if (running === asked && isUseless(error)) {
        running = undefined
        failures++
        host.retire()
      }
      throw error
    }
  }

  /** Whether another host is to be asked from now on. */
  function isUseless(error: unknown): boolean {
    if (!(error instanceof HostFault)) return false
    if (error.kind === 'module') faults++
    return error.kind === 'lost' || faults >= MOST_FAULTS
  }

  function current(): Promise<HostProcess> {
    if (closed) throw new CustodyError('PKCS#11: the custody is closed')
    if (running) return running
    const starting = start(() => {
      if (running !== starting) return
      running = undefined
      failures++
    })
    running = starting
    starting.catch(() => {
      if (running === starting) running = undefined
    })
    return starting
  }

  async function start(onEnd: () => void): Promise<HostProcess> {
    const request = await requestToOpen()
    if (refused && sameText(refused.pin, request.pin)) throw refused.error
    // The first time at once; then ever later, so that a module that crashes does not keep the machine busy.
    if (failures > 1) await pause(Math.min(100 * 2 ** (failures - 2), LONGEST_PAUSE))
    if (closed) throw new CustodyError('PKCS#11: the custody is closed')
    let opened = false
    const host = launch(() => opened && onEnd())
    try {
      await host.ask(request, LIMIT)
      opened = true
      faults = 0
      return host
    } catch (error) {
      failures++
      if (error instanceof HostFault && error.kind === 'pin') {
        refused = { pin: request.pin, error }
      }
      host.kill()
      throw error
    }
  }
}
