import { CustodyError } from './custody.ts'

// A PKCS#11 URI (RFC 7512), as far as it names a token and how to get at it. What names objects, such as
// `object` and `id`, is refused rather than passed over: keys are found by their reference alone.

/** Names a token; what is left out may be anything. */
export type TokenSelector = {
  token?: string
  serial?: string
  manufacturer?: string
  model?: string
  'slot-id'?: number
}

export type Pkcs11Uri = {
  selector: TokenSelector
  modulePath: string
  pin: { path: string } | { value: string }
  /** Names of further environment variables that the module reads. */
  environment: string[]
}

const SELECTORS = ['token', 'serial', 'manufacturer', 'model', 'slot-id']
/** The last is a vendor attribute (RFC 7512 §2.3), ours: variables of the environment, comma-separated. */
const QUERY = ['module-path', 'pin-source', 'pin-value', 'x-environment']

/** No message holds a value: each may be the PIN, put in the wrong place. @throws {CustodyError} */
export function parsePkcs11Uri(text: string): Pkcs11Uri {
  const [, path, query] = /^pkcs11:([^?]*)(?:\?(.*))?$/s.exec(text) ?? fault('must begin pkcs11:')
  const selectors = attributes(path ?? '', ';', SELECTORS)
  const settings = attributes(query ?? '', '&', QUERY)

  const modulePath = settings.get('module-path') ?? fault('needs ?module-path=/path/of/the/module')
  if (!isAbsolute(modulePath)) fault('module-path must be an absolute path')
  const slot = selectors.get('slot-id')
  if (slot !== undefined && !/^\d{1,15}$/.test(slot)) fault('slot-id must be a decimal number')

  const named = [...selectors].filter(([name]) => name !== 'slot-id')
  return {
    selector: { ...Object.fromEntries(named), ...(slot && { 'slot-id': Number(slot) }) },
    modulePath,
    pin: pin(settings.get('pin-source'), settings.get('pin-value')),
    environment: variables(settings.get('x-environment')),
  }
}

function attributes(part: string, separator: string, known: string[]): Map<string, string> {
  const found = new Map<string, string>()
  for (const attribute of part === '' ? [] : part.split(separator)) {
    const [, name, value] = /^([a-z][a-z0-9-]{0,30})=(.*)$/s.exec(attribute) ?? []
    if (name === undefined || value === undefined) {
      fault(`must be name=value, separated by ${separator}`)
    }
    // Unnamed: behind a `&` that should have been encoded, it is a part of the PIN.
    if (!known.includes(name)) fault(`has an attribute there that is none of ${known.join(', ')}`)
    if (found.has(name)) fault(`has "${name}" twice`)
    found.set(name, decode(name, value))
  }
  return found
}

/** RFC 7512 §2.3: what is not among these characters has to be percent-encoded. */
const PLAIN = /^(?:[\w.~:[\]@!$'()*+,=&/?|-]|%[0-9A-Fa-f]{2})+$/

function decode(name: string, value: string): string {
  if (value === '') fault(`has an empty "${name}"`)
  if (!PLAIN.test(value)) fault(`"${name}" must be percent-encoded (RFC 7512 §2.3)`)
  const decoded = decodeUtf8(value) ?? fault(`"${name}" must be UTF-8, percent-encoded`)
  if (/\p{Cc}/u.test(decoded)) fault(`"${name}" must be without control characters`)
  return decoded
}

function decodeUtf8(value: string): string | undefined {
  try {
    return decodeURIComponent(value)
  } catch {
    return undefined
  }
}

function pin(source: string | undefined, value: string | undefined): Pkcs11Uri['pin'] {
  if (source !== undefined && value !== undefined) fault('takes pin-source or pin-value, not both')
  if (value !== undefined) return { value }
  if (source === undefined) fault('needs pin-source=/path/of/a/file or pin-value')
  if (!source.startsWith('file:')) {
    if (!isAbsolute(source)) fault('pin-source must be an absolute path or a file: URL')
    return { path: source }
  }
  const url = URL.canParse(source) ? new URL(source) : fault('pin-source is no URL')
  const path = decodeUtf8(url.pathname)
  if (!['', 'localhost'].includes(url.host) || url.search || url.hash || !path || path === '/') {
    fault('pin-source must be a file: URL of this machine, without a query')
  }
  return { path }
}

function variables(list: string | undefined): string[] {
  const names = list?.split(',') ?? []
  const right = names.every((name) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name))
  return right ? names : fault('x-environment must be names of variables, separated by commas')
}

/** Also as Windows writes it. */
const isAbsolute = (path: string) => /^(?:\/|[A-Za-z]:[\\/])./.test(path)

function fault(text: string): never {
  throw new CustodyError(`KEY_CUSTODY: the PKCS#11 URI ${text}`)
}
