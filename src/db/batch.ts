/**
 * Puts requests in flight into one statement. What arrives while a statement runs shares the next one:
 * there is no timer, and a lone caller waits for nobody.
 *
 *  1. One statement of a batch is in flight at a time.
 *  2. Each caller is answered with its own row, after the statement has committed.
 *  3. Two items that share an `apart` key never share a statement, so that a statement never has to
 *     say which of two equal rows came first.
 */
export function createBatch<Item, Answer>(options: {
  /** Answers every item, in the order given. */
  run: (items: Item[]) => Promise<Answer[]>
  /** Items in one statement at the most. */
  most: number
  /** Keys that no two items of one statement may share. */
  apart?: (item: Item) => string[]
}): (item: Item) => Promise<Answer> {
  type Waiting = { item: Item; resolve: (answer: Answer) => void; reject: (error: unknown) => void }
  const apart = options.apart ?? (() => [])
  let waiting: Waiting[] = []
  let running = false

  return (item) =>
    new Promise<Answer>((resolve, reject) => {
      waiting.push({ item, resolve, reject })
      if (running) return
      running = true
      // Requests read from the sockets in this turn of the event loop travel together.
      setImmediate(work)
    })

  async function work(): Promise<void> {
    while (waiting.length > 0) {
      const batch = takeBatch()
      try {
        const answers = await options.run(batch.map(({ item }) => item))
        for (const [at, { resolve, reject }] of batch.entries()) {
          const answer = answers[at]
          if (answer === undefined) reject(new Error('the batch left an item unanswered'))
          else resolve(answer)
        }
      } catch (error) {
        for (const { reject } of batch) reject(error)
      }
    }
    running = false
  }

  function takeBatch(): Waiting[] {
    const batch: Waiting[] = []
    const later: Waiting[] = []
    const taken = new Set<string>()
    for (const entry of waiting) {
      const keys = apart(entry.item)
      if (batch.length >= options.most || keys.some((key) => taken.has(key))) {
        later.push(entry)
        continue
      }
      for (const key of keys) taken.add(key)
      batch.push(entry)
    }
    waiting = later
    return batch
  }
}

/** The columns of a batch, one array each, as `unnest` takes them. */
export const columns = <Item>(
  items: readonly Item[],
  pick: ((item: Item) => unknown)[],
): unknown[][] => pick.map((of) => items.map(of))

/** Runs so many at once at the most; the others wait for their turn, in the order they came. */
export function createLanes<Item, Answer>(
  most: number,
  run: (item: Item) => Promise<Answer>,
): (item: Item) => Promise<Answer> {
  const waiting: (() => void)[] = []
  let busy = 0
  return async (item) => {
    if (busy >= most) await new Promise<void>((turn) => waiting.push(turn))
    else busy += 1
    try {
      return await run(item)
    } finally {
      const next = waiting.shift()
      if (next === undefined) busy -= 1
      else next()
    }
  }
}
