import { type Answer, type Ask, callsBy, type House, openHouse } from './house.ts'
import { freePort } from './server-process.ts'

/**
 * A house that listens: its issuer is where it is reached, and its doors are reached by HTTP. Clients that
 * we did not write bring their own clock, so its time is theirs and goes on.
 */
export async function openHttpHouse(
  t: { after(end: () => Promise<void>): void },
  environment: NodeJS.ProcessEnv = {},
): Promise<House> {
  const port = await freePort()
  const issuer = `http://localhost:${port}`
  const house = await openHouse(t, { ISSUER: issuer, ...environment })
  Object.defineProperty(house.clock, 'now', { get: () => new Date() })
  await house.app.listen({ host: '127.0.0.1', port })

  const inject = async ({ method, url, headers, payload }: Ask): Promise<Answer> => {
    const answer = await fetch(`http://127.0.0.1:${port}${url}`, {
      method: method as string,
      headers: headers as Record<string, string>,
      redirect: 'manual',
      ...(payload !== undefined && { body: payload as string }),
    })
    const text = await answer.text()
    const json = /json/.test(answer.headers.get('content-type') ?? '')
    return {
      status: answer.status,
      body: json && text !== '' ? JSON.parse(text) : undefined,
      headers: {
        ...Object.fromEntries(answer.headers),
        'set-cookie': answer.headers.getSetCookie(),
      },
      text,
    }
  }
  return { ...house, inject, ...callsBy(inject) }
}
