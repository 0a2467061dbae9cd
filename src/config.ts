import { isIP } from 'node:net'
import { REQUIRED_ALGS, SIGNING_ALGS, type SigningAlg } from './oauth/signing-alg.ts'
import { isLoopback } from './oauth/uri.ts'

/** Every setting, declared once; nothing else reads the environment. Lifetimes are in seconds. */
export type Config = {
  issuer: string
  host: string
  port: number
  /** Unset: the embedded PostgreSQL under `dataDir`. */
  databaseUrl: string | undefined
  migrationDatabaseUrl: string | undefined
  dataDir: string
  /** Unset: made once and kept under `dataDir` (embedded only). */
  adminApiKey: string | undefined
  /** 32 bytes each, newest first. Unset: made once and kept under `dataDir` (embedded only). */
  keyEncryptionKeys: Buffer[] | undefined
  /** Where private keys are made and kept: `local`, a PKCS#11 URI (RFC 7512), or the `file:` URL of a custody. */
  keyCustody: string
  /** Addresses or CIDR blocks of proxies whose forwarded headers count. */
  trustProxy: string[]
  outboundAllow: string
  allowLoopbackHttp: boolean
  rateLimits: boolean
  /** A DPoP proof needs a nonce of ours (RFC 9449 §8). */
  dpopNonces: boolean
  /** Access tokens with the scope `delegate` are issued and taken for ID-JAGs (TX-29, TX-63). */
  delegateTokens: boolean
  idJagLifetime: number
  idTokenLifetime: number
  sessionLifetime: number
  refreshTokenLifetime: number
  jwksCeiling: number
  /** What there are keys for; ES256 and RS256 always (DS-25). */
  signingAlgs: readonly SigningAlg[]
  /** How long a key signs before the next one takes over (DS-28). */
  keyRotationInterval: number
  logLevel: string
  logFormat: 'json' | 'pretty'
}

/** A setting that cannot be: the server refuses to start and says which and why. */
export class ConfigError extends Error {
  override name = 'ConfigError'
}

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']

/** @throws {ConfigError} naming every setting that is wrong, and what would be right. */
export function loadConfig(env: NodeJS.ProcessEnv, terminal = false): Config {
  const faults: string[] = []
  const fault = (text: string) => {
    faults.push(text)
  }
  const text = (name: string) => env[name] || undefined
  const seconds = (name: string, standard: number, least: number, most: number) => {
    const value = text(name)
    if (value === undefined) return standard
    if (/^\d+$/.test(value) && Number(value) >= least && Number(value) <= most) return Number(value)
    fault(`${name} must be a whole number of seconds from ${least} to ${most}`)
    return standard
  }
  const choice = <T extends string>(name: string, standard: T, allowed: readonly string[]): T => {
    const value = text(name) ?? standard
    if (!allowed.includes(value)) fault(`${name} must be one of ${allowed.join(', ')}`)
    return value as T
  }

  const issuer = text('ISSUER') ?? 'http://localhost:4000'
  const issuerUrl = checkIssuer(issuer, fault)
  const loopback = issuerUrl !== undefined && isLoopback(issuerUrl)
  const databaseUrl = text('DATABASE_URL')
  for (const name of ['DATABASE_URL', 'MIGRATION_DATABASE_URL']) {
    const url = text(name)
    if (url !== undefined && !(/^postgres(ql)?:\/\//.test(url) && URL.canParse(url))) {
      fault(`${name} must be a postgres:// URL`)
    }
  }
  if (text('MIGRATION_DATABASE_URL') && !databaseUrl) {
    fault('MIGRATION_DATABASE_URL needs DATABASE_URL beside it')
  }

  const adminApiKey = text('ADMIN_API_KEY')
  if (adminApiKey !== undefined && adminApiKey.length < 32) {
    fault('ADMIN_API_KEY must have at least 32 characters')
  }
  if (adminApiKey !== undefined && !/^[\x21-\x7e]+$/.test(adminApiKey)) {
    fault('ADMIN_API_KEY must be printable ASCII without spaces')
  }
  if (databaseUrl && !adminApiKey) fault('ADMIN_API_KEY is required with DATABASE_URL')

  const keyEncryptionKeys = text('KEY_ENCRYPTION_KEY')
    ?.split(',')
    .map((key) => Buffer.from(key.trim(), 'base64'))
  if (keyEncryptionKeys?.some((key) => key.length !== 32)) {
    fault(
      'KEY_ENCRYPTION_KEY must be 32 bytes in base64 (openssl rand -base64 32), or several, comma-separated',
    )
  }
  if (databaseUrl && !keyEncryptionKeys) fault('KEY_ENCRYPTION_KEY is required with DATABASE_URL')

  const keyCustody = text('KEY_CUSTODY') ?? 'local'
  if (!/^(local$|pkcs11:|file:\/\/)/.test(keyCustody)) {
    fault('KEY_CUSTODY must be local, a PKCS#11 URI (pkcs11:…) or the file:// URL of a custody')
  }

  const signingAlgs = readSigningAlgs(text('SIGNING_ALGS'), fault)

  const allowLoopbackHttp =
    choice('ALLOW_LOOPBACK_HTTP', loopback ? 'on' : 'off', ['on', 'off']) === 'on'
  if (allowLoopbackHttp && !loopback) {
    fault('ALLOW_LOOPBACK_HTTP=on is for development: ISSUER must then be a loopback address')
  }
  const rateLimits = choice('RATE_LIMITS', 'on', ['on', 'off']) === 'on'
  if (!rateLimits && !loopback) {
    fault('RATE_LIMITS=off is accepted only when ISSUER is a loopback address')
  }

  const dpopNonces = choice<string>('DPOP_NONCES', 'off', ['on', 'off']) === 'on'
  const delegateTokens = choice<string>('DELEGATE_TOKENS', 'off', ['on', 'off']) === 'on'

  const trustProxy = (text('TRUST_PROXY') ?? '')
    .split(',')
    .map((entry) => entry.trim())
    .filter(Boolean)
  if (!trustProxy.every(isAddressOrBlock)) {
    fault('TRUST_PROXY must be IP addresses or CIDR blocks, comma-separated')
  }

  const port = text('PORT') ?? (issuerUrl?.port || '4000')
  if (!/^\d+$/.test(port) || Number(port) > 65_535) fault('PORT must be a number from 0 to 65535')

  const config: Config = {
    issuer,
    host: text('HOST') ?? '127.0.0.1',
    port: Number(port),
    databaseUrl,
    migrationDatabaseUrl: text('MIGRATION_DATABASE_URL'),
    dataDir: text('DATA_DIR') ?? './data',
    adminApiKey,
    keyEncryptionKeys,
    keyCustody,
    trustProxy,
    outboundAllow: text('OUTBOUND_ALLOW') ?? '',
    allowLoopbackHttp,
    rateLimits,
    dpopNonces,
    delegateTokens,
    idJagLifetime: seconds('ID_JAG_LIFETIME', 300, 60, 300),
    idTokenLifetime: seconds('ID_TOKEN_LIFETIME', 600, 60, 86_400),
    sessionLifetime: seconds('SESSION_LIFETIME', 86_400, 60, 31_536_000),
    refreshTokenLifetime: seconds('REFRESH_TOKEN_LIFETIME', 2_592_000, 60, 31_536_000),
    jwksCeiling: seconds('JWKS_CEILING', 86_400, 1, 604_800),
    signingAlgs,
    keyRotationInterval: seconds('KEY_ROTATION_INTERVAL', 2_592_000, 1, 7_776_000),
    logLevel: choice('LOG_LEVEL', 'info', LOG_LEVELS),
    logFormat: choice('LOG_FORMAT', terminal ? 'pretty' : 'json', ['json', 'pretty']),
  }
  if (faults.length > 0) throw new ConfigError(faults.join('; '))
  return config
}

/** A token that keeps keys may not do all of them. */
function readSigningAlgs(
  list: string | undefined,
  fault: (text: string) => void,
): readonly SigningAlg[] {
  if (list === undefined) return SIGNING_ALGS
  const asked = list.split(',').map((alg) => alg.trim())
  const known = SIGNING_ALGS.filter((alg) => asked.includes(alg))
  if (known.length === asked.length && REQUIRED_ALGS.every((alg) => known.includes(alg))) {
    return known
  }
  fault(
    `SIGNING_ALGS must be some of ${SIGNING_ALGS.join(', ')}, comma-separated, ${REQUIRED_ALGS.join(' and ')} among them`,
  )
  return SIGNING_ALGS
}

function isAddressOrBlock(entry: string): boolean {
  const [address = '', bits, ...more] = entry.split('/')
  const family = isIP(address)
  if (family === 0 || more.length > 0) return false
  if (bits === undefined) return true
  return /^[1-9]\d{0,2}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128)
}

/** DS-01: an origin alone, `https` unless loopback, written exactly as it will appear in tokens. */
function checkIssuer(issuer: string, fault: (text: string) => void): URL | undefined {
  if (!URL.canParse(issuer)) {
    fault('ISSUER must be a URL, such as https://id.example.com')
    return undefined
  }
  const url = new URL(issuer)
  if (url.origin !== issuer) {
    fault(
      'ISSUER must be an origin alone: scheme, lower-case host and, if not the standard one, a port; no path, no trailing slash',
    )
  }
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLoopback(url))) {
    fault('ISSUER must be https, unless it is a loopback address')
  }
  return url
}
