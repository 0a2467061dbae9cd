import { type Html, html } from './html.ts'

/** To the minute, in UTC: the server does not know where the reader is. */
export const instant = (at: Date): Html => {
  const text = at.toISOString()
  return html`<time datetime="${text}">${text.slice(0, 10)} ${text.slice(11, 16)} UTC</time>`
}
