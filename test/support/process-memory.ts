/** All that a process could write to, as its memory is at one moment. */

import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { findNeedles, type Needle } from './private-parts.ts'

const CHUNK = 1024 * 1024
/** Longer than any needle: what lies across the end of a chunk is in the next one again. */
const OVERLAP = 4096
/** Most of it was never written to. */
const ZEROS = Buffer.alloc(CHUNK)

/** The names of the needles that are in it, and how many bytes there were to search. The process stands still meanwhile. */
export function searchMemory(
  pid: number,
  needles: Needle[],
): { found: Set<string>; bytes: number } {
  const found = new Set<string>()
  let bytes = 0
  process.kill(pid, 'SIGSTOP')
  const memory = openSync(`/proc/${pid}/mem`, 'r')
  try {
    for (const { from, to } of writableRegions(pid)) {
      for (let at = from; at < to; at += CHUNK - OVERLAP) {
        const chunk = Buffer.allocUnsafe(Math.min(CHUNK, to - at))
        for (let read = 0; read < chunk.length; ) {
          read += readSync(memory, chunk, read, chunk.length - read, at + read)
        }
        if (chunk.equals(ZEROS.subarray(0, chunk.length))) continue
        bytes += chunk.length
        for (const name of findNeedles(chunk, needles)) found.add(name)
      }
    }
  } finally {
    closeSync(memory)
    process.kill(pid, 'SIGCONT')
  }
  return { found, bytes }
}

function writableRegions(pid: number): { from: number; to: number }[] {
  const lines = readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n')
  return lines.flatMap((line) => {
    const [, from = '', to = ''] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line) ?? []
    return from ? [{ from: Number.parseInt(from, 16), to: Number.parseInt(to, 16) }] : []
  })
}
