import type { AuthorizationDetail } from '../oauth/authorization-details.ts'
import { type Html, html } from './html.ts'

/**
 * Entries of authorization details on a page. Nothing of them is left out, for whoever allows one allows all
 * of it; how much there can be is bounded where they come in.
 */
export const detailsList = (
  entries: readonly { detail: AuthorizationDetail; description: string | undefined }[],
  undescribed: string,
): Html =>
  html`<ul>${entries.map(
    ({ detail: { type, ...members }, description }) => html`<li>${plainText(type)}<br>
<span class="soft">${description ?? undescribed}</span>
${Object.keys(members).length > 0 && memberList(members)}</li>
`,
  )}</ul>`

/** The common members of RFC 9396 §2.2; any other has the name that the service gave it. */
const NAMES = new Map([
  ['locations', 'Where'],
  ['actions', 'Actions'],
  ['datatypes', 'Kinds of data'],
  ['identifier', 'Which one'],
  ['privileges', 'Privileges'],
])

const memberList = (members: Record<string, unknown>): Html => html`<dl>
${Object.entries(members).map(
  ([name, value]) => html`<dt>${NAMES.get(name) ?? html`<code>${plainText(name)}</code>`}</dt>
${valueTexts(value).map((text) => html`<dd>${text}</dd>`)}
`,
)}</dl>`

/** A text as it is, a list of texts one by one, anything else as JSON. */
function valueTexts(value: unknown): string[] {
  if (typeof value === 'string' && value !== '') return [plainText(value)]
  const isList = Array.isArray(value) && value.length > 0
  if (isList && value.every((one) => typeof one === 'string' && one !== '')) {
    return value.map(plainText)
  }
  return [plainText(JSON.stringify(value))]
}

/** What would be invisible, or turn the text around it, is written as its number. */
const plainText = (text: string): string =>
  text.replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    (char) => `\\u{${char.codePointAt(0)?.toString(16).padStart(4, '0')}}`,
  )
