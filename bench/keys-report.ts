/** What `npm run bench:keys` measured, as tables of medians and ratios. */
import { type Beside, type KeySetRound, READ } from './key-set.ts'
import type { Measured } from './load.ts'
import { AT_ONCE, type SigningRound } from './signing.ts'
import { aligned, ratio, spreadOf } from './spread.ts'

const median = (values: number[], digits = 0) => spreadOf(values).median.toFixed(digits)

/** µs are CPU time per signature, of the server's process and of the module's. */
export function signingLines(rounds: SigningRound[]): string[] {
  const head = ['signatures', 'local/s', 'pkcs11/s', 'rate, pkcs11 / local']
  head.push('local µs', 'pkcs11 µs', 'host µs', 'µs, pkcs11 with host / local')
  const algs = [...new Set(rounds.map(({ alg }) => alg))]
  const rows = AT_ONCE.flatMap((atOnce) =>
    algs.map((alg) => {
      const own = rounds.filter((round) => round.alg === alg && round.atOnce === atOnce)
      const whole = ({ pkcs11 }: SigningRound) => pkcs11.cpu.server + pkcs11.cpu.host
      return [
        `${alg}, ${atOnce} at once`,
        median(own.map(({ local }) => local.perSecond)),
        median(own.map(({ pkcs11 }) => pkcs11.perSecond)),
        ratio(spreadOf(own.map(({ local, pkcs11 }) => pkcs11.perSecond / local.perSecond))),
        median(own.map(({ local }) => local.cpu.server)),
        median(own.map(({ pkcs11 }) => pkcs11.cpu.server)),
        median(own.map(({ pkcs11 }) => pkcs11.cpu.host)),
        ratio(spreadOf(own.map((round) => whole(round) / round.local.cpu.server))),
      ]
    }),
  )
  return aligned([head, ...rows])
}

const PARTS: [name: string, of: (round: KeySetRound) => Beside][] = [
  ['200', ({ whole }) => whole],
  ['304', ({ unchanged }) => unchanged],
  ['200, database away', ({ away }) => away],
]

/** µs are CPU time per answer; cores, what the server kept busy: below 1 it waited for the generator. */
export function keySetLines(rounds: KeySetRound[]): string[] {
  const head = ['key set', 'req/s', 'rate, agent-idp / it', 'server µs', 'µs, agent-idp / it']
  const rows = PARTS.flatMap(([part, of]) =>
    READ.map((name) => {
      const own = rounds.map((round) => of(round)[name])
      const against = (figure: (measured: Measured) => number) =>
        name === 'agent-idp'
          ? ''
          : ratio(spreadOf(rounds.map((r) => figure(of(r)['agent-idp']) / figure(of(r)[name]))))
      return [
        `${name}, ${part}`,
        median(own.map(({ requestsPerSecond }) => requestsPerSecond)),
        against(({ requestsPerSecond }) => requestsPerSecond),
        median(
          own.map(({ cpu }) => cpu.server),
          1,
        ),
        against(({ cpu }) => cpu.server),
        median(
          own.map(({ cpu, requestsPerSecond }) => (cpu.server * requestsPerSecond) / 1e6),
          2,
        ),
      ]
    }),
  )
  const cuts = rounds.map(({ cut }) => cut)
  const failed = cuts.reduce((sum, { errorCount }) => sum + errorCount, 0)
  const slowest = Math.max(...cuts.map(({ maxMs }) => maxMs)).toFixed(0)
  return [
    `${rounds[0]?.keys} keys, ${rounds[0]?.bytes} bytes`,
    ...aligned([[...head, 'cores'], ...rows]),
    `as the database goes away: ${median(cuts.map(({ requestsPerSecond }) => requestsPerSecond))} req/s, ${failed} failed, the slowest took ${slowest} ms`,
  ]
}

/** Every answer has to be right, with the database or without. */
export function keySetFaults(rounds: KeySetRound[]): string[] {
  return rounds.flatMap((round, n) =>
    [round.cut, ...PARTS.flatMap(([, of]) => Object.values(of(round)))]
      .filter(({ errorCount, requests }) => errorCount > 0 || requests === 0)
      .map(({ errorCount, errors }) => `round ${n + 1}: ${errorCount} errors: ${errors[0]}`),
  )
}

export function elsewhereNotes(rounds: KeySetRound[], cores: number): string[] {
  return PARTS.flatMap(([part, of]) => {
    const loads = rounds.flatMap((round) => Object.values(of(round)))
    const busy = spreadOf(loads.map(({ coresElsewhere }) => coresElsewhere)).median
    return busy > cores * 0.15
      ? [`note: ${part}: ${busy.toFixed(1)} cores were busy with something else`]
      : []
  })
}
