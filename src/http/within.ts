/**
 * Waits for `work` so long and no longer. What comes of it after that is nobody's concern, a fault neither.
 * @throws what `work` does, or what `late` says
 */
export async function within<Value>(
  milliseconds: number,
  work: Promise<Value>,
  late: () => Error,
): Promise<Value> {
  let timer: NodeJS.Timeout | undefined
  const over = new Promise<never>((_resolve, reject) => {
    // Where this process stood still, what came meanwhile is in time: it is read before an immediate runs.
    timer = setTimeout(() => setImmediate(() => reject(late())), milliseconds)
  })
  try {
    return await Promise.race([work, over])
  } finally {
    clearTimeout(timer)
  }
}
