/** A token of SoftHSM for one run. Where its module or what loads it is not there, what needs it is left out. */
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'

const MODULE = process.env.SOFTHSM2_MODULE ?? '/usr/lib/softhsm/libsofthsm2.so'

/** Settings for the environment of whoever is to keep keys in it. */
export type Token = { SOFTHSM2_CONF: string; KEY_CUSTODY: string }

/** What is missing, or undefined. */
export function withoutSoftHsm(): string | undefined {
  if (!fs.existsSync(MODULE)) return `SoftHSM is not installed (${MODULE}; SOFTHSM2_MODULE)`
  if (spawnSync('softhsm2-util', ['--version']).status !== 0) return 'there is no softhsm2-util'
  try {
    import.meta.resolve('pkcs11js')
    return undefined
  } catch {
    return 'the optional package pkcs11js is not installed'
  }
}

/** Lies in `dir` and goes with it. */
export function makeToken(dir: string): Token {
  const [conf, tokens, pinFile] = ['softhsm2.conf', 'tokens', 'pin'].map((name) =>
    path.join(dir, name),
  ) as [string, string, string]
  const pin = randomBytes(8).toString('hex')
  fs.mkdirSync(tokens, { recursive: true, mode: 0o700 })
  fs.writeFileSync(conf, `directories.tokendir = ${tokens}\nlog.level = ERROR\n`)
  fs.writeFileSync(pinFile, pin, { mode: 0o600 })
  const args = ['--init-token', '--free', '--label', 'bench', '--pin', pin, '--so-pin', pin]
  const env = { ...process.env, SOFTHSM2_CONF: conf }
  const { status, stderr } = spawnSync('softhsm2-util', args, { encoding: 'utf8', env })
  if (status !== 0) throw new Error(`softhsm2-util: ${stderr}`)
  return {
    SOFTHSM2_CONF: conf,
    KEY_CUSTODY: `pkcs11:token=bench?module-path=${MODULE}&pin-source=${pinFile}`,
  }
}
