/** A `pg_snapshot`: every transaction below `end` had ended, but for those still running. Ids as decimal text. */
export type Snapshot = { end: string; running: string[] }

const FORM = /^\d+:(\d+):((?:\d+(?:,\d+)*)?)$/

export const isSnapshot = (text: string): boolean => FORM.test(text)

/** @throws {TypeError} when it is not the text of a snapshot, `xmin:xmax:xip,…` */
export function readSnapshot(text: string): Snapshot {
  const [, end, running] = FORM.exec(text) ?? []
  if (end === undefined || running === undefined) throw new TypeError('not a snapshot')
  return { end, running: running === '' ? [] : running.split(',') }
}

/** Whether that transaction had ended. */
export const sees = ({ end, running }: Snapshot, xid: string): boolean =>
  BigInt(xid) < BigInt(end) && !running.includes(xid)
