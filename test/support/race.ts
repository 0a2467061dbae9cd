/** How races are run, and what is said of their answers. */

import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import type { Kysely } from 'kysely'
import type pg from 'pg'
import type { Tables } from '../../src/db/tables.ts'
import type { Answer, Doors } from './house.ts'

/** Two servers of one database, and what the test itself asks that. */
export type Arena = {
  replicas: readonly [Doors, Doors]
  db: Kysely<Tables>
  pool: pg.Pool
}

/** Races at a time, so that statements are shared among strangers. */
const LANES = 10
/** Milliseconds within which what races is sent. */
const SPREAD = 25

/** How many were granted, and how many refused with which error. */
export function tally(answers: Answer[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { status, body, text } of answers) {
    const what = status === 200 ? 'granted' : (body?.error ?? text)
    counts[what] = (counts[what] ?? 0) + 1
  }
  return counts
}

/** Granted or refused, but never failed. */
export function assertSound(answers: Answer[]): void {
  for (const { status, text } of answers) assert.ok(status < 500, `${status} ${text}`)
}

/** @param spread how many times as long it may take: what comes about when slow ones do. */
export const soon = async <T>(act: () => Promise<T>, spread = 1): Promise<T> => {
  await pause(Math.random() * SPREAD * spread)
  return act()
}

export async function inLanes<Item, Result>(
  items: Item[],
  act: (item: Item, index: number) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = []
  let next = 0
  const lane = async () => {
    while (next < items.length) {
      const index = next++
      results[index] = await act(items[index] as Item, index)
    }
  }
  await Promise.all(Array.from({ length: LANES }, lane))
  return results
}

/** The replicas, in the other order in every other race. */
export const turned = ([one, two]: Arena['replicas'], index: number): [Doors, Doors] =>
  index % 2 ? [one, two] : [two, one]
