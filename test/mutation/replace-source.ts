/**
 * Loaded into the process of a test file, before it: gives the program the text of a mutant in place of
 * the one file that the mutant is of, and tells the parent which sources the test has need of.
 */

import { registerHooks } from 'node:module'

const { MUTANT_URL, MUTANT_SOURCE } = process.env

registerHooks({
  load(url, context, nextLoad) {
    if (url.includes('/src/')) process.send?.(url)
    const loaded = nextLoad(url, context)
    return url === MUTANT_URL ? { ...loaded, source: MUTANT_SOURCE } : loaded
  },
})
