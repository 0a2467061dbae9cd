import type { Budget } from './budgets.ts'

/** Milliseconds. */
export const MINUTE = 60_000

/** The requests of one key in one minute, as one replica knows them. */
export type RequestCount = {
  readonly budget: Budget
  readonly key: string
  /** Let through here. */
  taken: number
  /** The part of it that the other replicas can know. */
  shared: number
  /** Let through by the others, as far as they said. */
  elsewhere: number
  refused: boolean
  /** It waits to be shared. */
  due: boolean
}

export const newCount = (budget: Budget, key: string): RequestCount => ({
  budget,
  key,
  taken: 0,
  shared: 0,
  elsewhere: 0,
  refused: false,
  due: false,
})

/** Requests that a replica may keep to itself: keys that are used little are never written down. */
export const keptBack = ({ perMinute }: Budget): number => Math.ceil(perMinute / 50)

export const isSpent = ({ budget, taken, elsewhere }: RequestCount): boolean =>
  taken + elsewhere >= budget.perMinute

export const isWorthSharing = ({ budget, taken, shared }: RequestCount): boolean =>
  taken - shared >= keptBack(budget)
