/** Tokens of SoftHSM, each in a folder of its own. */

import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

import * as cryptoki from '../../src/keys/cryptoki.ts'

export const MODULE = process.env.SOFTHSM2_MODULE ?? '/usr/lib/softhsm/libsofthsm2.so'

export type SoftToken = {
  folder: string
  pin: string
  pinFile: string
  /** A value of KEY_CUSTODY. */
  setting: string
}

type Surroundings = { after(end: () => void): void }

/** A new token. Until the next one, this process and those it starts have no other. */
export function makeToken(t: Surroundings, label = 'agent-idp'): SoftToken {
  const folder = mkdtempSync(join(tmpdir(), 'agent-idp-token-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const [configuration, pinFile] = [join(folder, 'softhsm2.conf'), join(folder, 'pin')]
  const tokens = mkdtempSync(join(folder, 'tokens-'))
  writeFileSync(
    configuration,
    `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`,
  )
  process.env.SOFTHSM2_CONF = configuration
  const pin = randomBytes(8).toString('hex')
  writeFileSync(pinFile, `${pin}\n`, { mode: 0o600 })
  addToken(label, pin)
  const setting = `pkcs11:token=${encodeURIComponent(label)}?module-path=${MODULE}&pin-source=${pinFile}`
  return { folder: tokens, pin, pinFile, setting }
}

/** One more token beside the others. */
export function addToken(label: string, pin: string): void {
  const args = ['--init-token', '--free', '--label', label, '--pin', pin, '--so-pin', pin]
  const { status, stderr } = spawnSync('softhsm2-util', args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`softhsm2-util: ${stderr}`)
}

/** The files of the objects in it. */
export const objectFiles = ({ folder }: SoftToken) =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => /[0-9a-f]{12}\.object$/.test(name))
    .map((name) => join(folder, name))

/** The keys in it, as the module shows them to whoever knows the PIN. */
export function readToken({ pin }: SoftToken) {
  const module = cryptoki.loadCryptoki(MODULE)
  module.C_Initialize({ flags: cryptoki.CKF_OS_LOCKING_OK })
  try {
    const [slot] = module.C_GetSlotList(true) as [Buffer]
    const session = module.C_OpenSession(slot, cryptoki.CKF_SERIAL_SESSION)
    module.C_Login(session, cryptoki.CKU_USER, pin)
    module.C_FindObjectsInit(session, [])
    return module.C_FindObjects(session, 100).map((object) => {
      const read = (type: number) =>
        module.C_GetAttributeValue(session, object, [{ type }])[0]?.value ?? Buffer.alloc(0)
      const isPrivate = read(cryptoki.CKA_CLASS)[0] === cryptoki.CKO_PRIVATE_KEY
      return {
        private: isPrivate,
        label: read(cryptoki.CKA_LABEL).toString(),
        id: read(cryptoki.CKA_ID).toString('hex'),
        alwaysSensitive: isPrivate && read(cryptoki.CKA_ALWAYS_SENSITIVE)[0] === 1,
        neverExtractable: isPrivate && read(cryptoki.CKA_NEVER_EXTRACTABLE)[0] === 1,
        can: isPrivate ? Object.keys(USES).filter((use) => read(USES[use] ?? 0)[0] === 1) : [],
      }
    })
  } finally {
    module.C_Finalize()
  }
}

const USES: Record<string, number> = {
  SIGN: cryptoki.CKA_SIGN,
  SIGN_RECOVER: cryptoki.CKA_SIGN_RECOVER,
  DECRYPT: cryptoki.CKA_DECRYPT,
  UNWRAP: cryptoki.CKA_UNWRAP,
  DERIVE: cryptoki.CKA_DERIVE,
}

/** The processes that `parent` runs PKCS#11 modules in. */
export function hostsOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      const stat = readProc(pid, 'stat')
      const [state, ppid] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      return Number(ppid) === parent && state !== 'Z' && /-host\.ts/.test(readProc(pid, 'cmdline'))
    })
}

/** Nothing of a process that is gone. */
export function readProc(pid: number, name: 'stat' | 'cmdline' | 'environ'): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8')
  } catch {
    return ''
  }
}

/** Resolves when a process is gone; how long that takes is not judged. */
export async function hasEnded(pid: number): Promise<void> {
  while (readProc(pid, 'cmdline') !== '') await pause(5)
}
