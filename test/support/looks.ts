/**
 * What can be judged about a page without seeing it: how it is built, whether its text stands out from what is
 * behind it, whether the focus shows, whether it fits a narrow screen. By WCAG 2.2, as far as that can be
 * computed. With SCREENSHOTS=<folder> the pages are also kept as pictures, for the rest.
 */

import assert from 'node:assert/strict'
import { join } from 'node:path'
import type { Page } from 'playwright-core'

const NARROW = 320

export async function assertGoodLooks(page: Page, name: string): Promise<void> {
  const before = page.viewportSize() ?? { width: 1024, height: 768 }
  const scheme = await page.evaluate<string>(
    `matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light'`,
  )
  assert.deepEqual(await page.evaluate(STRUCTURE), [], `${name}: how it is built`)
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme })
    assert.deepEqual(await page.evaluate(CONTRAST), [], `${name}, ${colorScheme}: text stands out`)
    assert.deepEqual(await page.evaluate(FOCUS), [], `${name}, ${colorScheme}: focus shows`)
    await takePictures(page, `${name}-${colorScheme}`)
  }
  await page.setViewportSize({ width: NARROW, height: 640 })
  assert.deepEqual(await page.evaluate(OVERFLOW), [], `${name}: fits ${NARROW} pixels`)
  await page.setViewportSize(before)
  await page.emulateMedia({ colorScheme: scheme as 'light' })
}

async function takePictures(page: Page, name: string): Promise<void> {
  const folder = process.env.SCREENSHOTS
  if (!folder) return
  for (const width of [360, 1024]) {
    await page.setViewportSize({ width, height: 768 })
    const tall = await page.evaluate<number>('document.documentElement.scrollHeight')
    const path = join(folder, `${name}-${width}.png`)
    await page.screenshot({ path, fullPage: tall < 4000 })
  }
}

// Evaluated in the page, each to a list of what is wrong.

const STRUCTURE = `(() => {
  const faults = []
  const all = (selector) => [...document.querySelectorAll(selector)]
  if (!document.documentElement.lang) faults.push('no language')
  if (!document.title) faults.push('no title')
  if (all('h1').length !== 1) faults.push(all('h1').length + ' h1')
  if (all('main').length !== 1) faults.push(all('main').length + ' main')
  if (document.styleSheets.length === 0) faults.push('no style')
  let level = 0
  for (const heading of all('h1, h2, h3, h4, h5, h6')) {
    const next = Number(heading.tagName[1])
    if (next > level + 1) faults.push('h' + level + ' is followed by h' + next)
    level = next
  }
  for (const field of all('input:not([type=hidden]), select, textarea')) {
    const text = [...field.labels].map((label) => label.textContent.trim()).join(' ')
    if (!text) faults.push('no label for ' + field.outerHTML)
  }
  for (const one of all('button, a[href], summary')) {
    if (!one.textContent.trim()) faults.push('no text in ' + one.outerHTML)
  }
  for (const group of all('fieldset')) {
    if (!group.querySelector('legend')) faults.push('a group without a name')
  }
  for (const cell of all('th')) if (!cell.scope) faults.push('th without scope')
  const ids = all('[id]').map((one) => one.id)
  for (const id of new Set(ids)) if (ids.indexOf(id) !== ids.lastIndexOf(id)) faults.push('twice #' + id)
  return faults
})()`

/** Colours as the style computes them, which writes rgb() or rgba(). */
const COLOURS = `
  const read = (text) => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number)
    return { r, g, b, a }
  }
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = read(getComputedStyle(at).backgroundColor)
      if (colour.a === 1) return colour
      if (colour.a !== 0) throw new Error('half transparent: ' + at.outerHTML)
    }
    throw new Error('nothing behind it')
  }
  const luminance = ({ r, g, b }) => {
    const linear = (value) => value <= 0.04045 * 255 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4
    return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b)
  }
  const contrast = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b)
    return (light + 0.05) / (dark + 0.05)
  }
  const shown = (element) => element.checkVisibility() && element.getClientRects().length > 0`

const CONTRAST = `(() => {${COLOURS}
  const faults = new Set()
  const judge = (element, colour, least, what) => {
    const found = contrast(read(colour), behind(element))
    if (found < least) faults.add(what + ': ' + found.toFixed(2))
  }
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (walker.nextNode()) {
    const { textContent, parentElement: element } = walker.currentNode
    if (!textContent.trim() || !shown(element)) continue
    judge(element, getComputedStyle(element).color, 4.5, textContent.trim().slice(0, 40))
  }
  for (const field of document.querySelectorAll('input, select')) {
    if (!shown(field) || ['checkbox', 'radio'].includes(field.type)) continue
    judge(field, getComputedStyle(field).color, 4.5, field.name)
    judge(field.parentElement, getComputedStyle(field).borderTopColor, 3, field.name + ', its border')
  }
  return [...faults]
})()`

const FOCUS = `(() => {${COLOURS}
  const element = document.activeElement
  const faults = []
  const check = (one) => {
    const { outlineStyle, outlineWidth, outlineColor } = getComputedStyle(one)
    const what = one.outerHTML.slice(0, 80)
    if (outlineStyle === 'none' || parseFloat(outlineWidth) < 2) faults.push('no outline: ' + what)
    else if (contrast(read(outlineColor), behind(one.parentElement)) < 3) faults.push('faint: ' + what)
  }
  for (const one of document.querySelectorAll('a[href], button, input:not([type=hidden]), summary')) {
    if (!shown(one)) continue
    one.focus({ focusVisible: true, preventScroll: true })
    if (document.activeElement !== one) faults.push('takes no focus: ' + one.outerHTML)
    else check(one)
  }
  if (element === document.body) document.activeElement.blur()
  else element.focus({ preventScroll: true })
  return faults
})()`

const OVERFLOW = `(() => {
  const { scrollWidth, clientWidth } = document.documentElement
  if (scrollWidth <= clientWidth) return []
  return [...document.body.querySelectorAll('*')]
    .filter((one) => one.getBoundingClientRect().right > clientWidth)
    .map((one) => one.outerHTML.slice(0, 120))
})()`
