import { Counter, Gauge, type Registry } from 'prom-client'
import type { Deps } from '../deps.ts'
import { secondsBetween } from '../oauth/numeric-date.ts'

const LABELS = ['kid', 'purpose', 'alg', 'status'] as const

/** Each key's age, the time to its next step, and what this process signed with it; read when scraped. */
export function watchKeys(registry: Registry, { keys, now }: Pick<Deps, 'keys' | 'now'>): void {
  const registers = [registry]
  new Gauge({
    name: 'signing_key_age_seconds',
    help: 'Time since a signing key was published',
    labelNames: LABELS,
    registers,
    collect() {
      this.reset()
      for (const { kid, purpose, alg, status, published_at } of keys.figures()) {
        this.set({ kid, purpose, alg, status }, secondsBetween(published_at, now()))
      }
    },
  })
  new Gauge({
    name: 'signing_key_next_step_seconds',
    help: 'Time until a signing key is activated, retired or removed; below 0: overdue',
    labelNames: [...LABELS, 'step'],
    registers,
    collect() {
      this.reset()
      for (const { kid, purpose, alg, status, next } of keys.figures()) {
        // That one waits for the events it signed, of which nobody here knows the end.
        if (!next || (status === 'retired' && purpose === 'id_jag')) continue
        const labels = { kid, purpose, alg, status, step: next.does }
        this.set(labels, secondsBetween(now(), next.at))
      }
    },
  })
  new Counter({
    name: 'signatures_total',
    help: 'Signatures that this process made, by key',
    labelNames: ['kid', 'purpose', 'alg'],
    registers,
    collect() {
      this.reset()
      for (const { kid, purpose, alg, signatures } of keys.figures()) {
        if (signatures > 0) this.inc({ kid, purpose, alg }, signatures)
      }
    },
  })
}
