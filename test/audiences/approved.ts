import assert from 'node:assert/strict'
import { rereadDue } from '../../src/audiences/reread.ts'
import { openApp } from '../support/discoverable-app.ts'
import { openHouse } from '../support/house.ts'

/** Seconds after which documents that do not say how long they last are read again. */
export const HOUR = 3600

/** A house whose administrator registers audiences from their documents, and approves what is found. */
export async function openApprovals(t: Parameters<typeof openHouse>[0]) {
  const house = await openHouse(t)
  const read = async (id: string) => (await house.admin('GET', `/audiences/${id}`)).body
  const approve = (id: string, body = {}) =>
    house.admin('POST', `/audiences/${id}/approve-change`, body)
  return {
    house,
    read,
    approve,
    /** An app, and the audience that was registered from its documents and approved. */
    async approved(t: Parameters<typeof openApp>[0], more: object = {}) {
      const app = await openApp(t)
      const { body, text } = await house.admin('POST', '/audiences', { discover: app.url, ...more })
      assert.ok(body.id, text)
      await approve(body.id)
      return { app, id: body.id as string }
    },
    async anHourLater(id: string) {
      house.wait(HOUR)
      await rereadDue(house.deps)
      return read(id)
    },
    async eventsOf(id: string, type: string) {
      const { body } = await house.admin('GET', `/audit-events?audience_id=${id}&type=${type}`)
      return body.data
    },
    alarmsAt: (id: string) =>
      house.logs.filter((line) => line.includes('audience.change_noticed') && line.includes(id)),
  }
}
