// What the environment of the server holds is for the server: its settings are secrets, and who knows what
// else is there. A PKCS#11 module gets what modules are known to read, and what KEY_CUSTODY names besides.

type Environment = Record<string, string | undefined>

/** Where modules look for their configuration; where they write; how they speak; what Windows needs. */
const KNOWN = [
  'SOFTHSM2_CONF',
  'OPENSC_CONF',
  'YUBIHSM_PKCS11_CONF',
  'KMS_PKCS11_CONFIG',
  'CS_PKCS11_R2_CFG',
  'CS_PKCS11_R3_CFG',
  'ChrystokiConfigurationPath',
  'HOME',
  'TMPDIR',
  'TZ',
  'LANG',
  'SystemRoot',
]
/** Of ours, those with secrets in them; whatever names them. */
const NEVER = [
  'ADMIN_API_KEY',
  'DATABASE_URL',
  'KEY_CUSTODY',
  'KEY_ENCRYPTION_KEY',
  'MIGRATION_DATABASE_URL',
]

/** The environment of the process that a PKCS#11 module runs in. */
export function hostEnvironment(named: string[], from: Environment = process.env): Environment {
  const names = [...KNOWN, ...named].filter((name) => !NEVER.includes(name))
  return Object.fromEntries(
    names.flatMap((name) => (from[name] === undefined ? [] : [[name, from[name]]])),
  )
}
