import assert from 'node:assert/strict'
import {
  type Browser,
  type BrowserContextOptions,
  chromium,
  type Locator,
  type Page,
} from 'playwright-core'

/** A browser with a profile of its own, which is empty and goes away with it. It may call nobody by itself. */
export const launchChromium = (): Promise<Browser> =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })

export type Watched = { page: Page; faults: string[] }

/** A page of a new profile, and all that a careful developer would have seen go wrong in it. */
export async function openPage(
  browser: Browser,
  options: BrowserContextOptions,
  origins: string[],
): Promise<Watched> {
  const context = await browser.newContext(options)
  const page = await context.newPage()
  const faults: string[] = []
  page.on('console', (message) => {
    // The browser's own remark on a page that is a refusal.
    const refusal = message.text().startsWith('Failed to load resource')
    if (refusal && message.location().url === page.url()) return
    if (message.type() === 'error') faults.push(`${message.text()} (${message.location().url})`)
  })
  page.on('pageerror', (error) => faults.push(String(error)))
  context.on('request', (request) => {
    const { origin } = new URL(request.url())
    if (!origins.includes(origin)) faults.push(`a request left for ${request.url()}`)
  })
  context.on('requestfailed', (request) =>
    faults.push(`${request.url()} failed: ${request.failure()?.errorText}`),
  )
  await page.exposeBinding('tellViolation', (_source, text: string) => faults.push(text))
  await page.addInitScript(`document.addEventListener('securitypolicyviolation', (event) =>
    tellViolation(event.violatedDirective + ' forbids ' + event.blockedURI))`)
  return { page, faults }
}

/** Nothing is clicked: a person with a keyboard alone gets there, and sees where they are on the way. */
export async function tabTo(page: Page, target: Locator): Promise<void> {
  assert.equal(await target.count(), 1, `there is one ${target}`)
  for (let steps = 0; steps < 80; steps++) {
    if (await hasFocus(target)) return
    await page.keyboard.press('Tab')
  }
  assert.fail(`no Tab leads to ${target}`)
}

export const hasFocus = (target: Locator): Promise<boolean> =>
  target.evaluate((element) => element.matches(':focus'))

/** By Enter, where it leads to another page. */
export async function follow(page: Page, target: Locator): Promise<void> {
  await tabTo(page, target)
  await pressEnter(page)
}

export async function pressEnter(page: Page): Promise<void> {
  await Promise.all([page.waitForEvent('load'), page.keyboard.press('Enter')])
}
