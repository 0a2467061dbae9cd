import net from 'node:net'

/** The first of `count` ports in a row that nothing listens on. */
export async function freePorts(from: number, count: number): Promise<number> {
  for (let first = from; first < from + 1000; first += count) {
    const ports = Array.from({ length: count }, (_, n) => first + n)
    if ((await Promise.all(ports.map(isFree))).every(Boolean)) return first
  }
  throw new Error(`no free ports from ${from}`)
}

async function isFree(port: number): Promise<boolean> {
  const server = net.createServer()
  const free = new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => resolve(true))
  })
  const result = await free
  server.close()
  return result
}
