/**
 * Which addresses may not be called, said a second time: by ranges of numbers instead of the block lists of
 * src/, from the table of DR-31 and the IANA special-purpose registries; and every way to write an address.
 */
import fc from 'fast-check'

type Range = { first: bigint; last: bigint }

const range = (net: bigint, prefix: number, bits: number): Range => ({
  first: net,
  last: net + (1n << BigInt(bits - prefix)) - 1n,
})
const v4 = (text: string): Range => {
  const [net = '', prefix] = text.split('/')
  const value = net.split('.').reduce((sum, part) => sum * 256n + BigInt(part), 0n)
  return range(value, Number(prefix), 32)
}
/** `groups` are the first ones of the address, the rest is nought. */
const v6 = (prefix: number, ...groups: number[]): Range => {
  const all = [...groups, ...Array<number>(8 - groups.length).fill(0)]
  return range(
    all.reduce((sum, group) => sum * 65536n + BigInt(group), 0n),
    prefix,
    128,
  )
}

export const SPECIAL_V4 = [
  ...['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16'],
  ...['172.16.0.0/12', '192.0.0.0/24', '192.0.2.0/24', '192.168.0.0/16', '198.18.0.0/15'],
  ...['198.51.100.0/24', '203.0.113.0/24', '224.0.0.0/4', '240.0.0.0/4'],
  '192.88.99.0/24', // 6to4 relays: not in DR-31, and nobody's
].map(v4)

const MAPPED = v6(96, 0, 0, 0, 0, 0, 0xffff)
const NAT64 = v6(96, 0x64, 0xff9b)

/** What is not global unicast is written as what is left of it: 2000::/3. */
export const SPECIAL_V6 = [
  { first: 0n, last: v6(3, 0x2000).first - 1n },
  { first: v6(3, 0x2000).last + 1n, last: (1n << 128n) - 1n },
  v6(23, 0x2001), // protocol assignments, Teredo among them
  v6(32, 0x2001, 0xdb8), // documentation
  v6(16, 0x2002), // 6to4, whatever it carries
  v6(20, 0x3fff), // documentation
]

const isIn = (ranges: Range[], value: bigint) =>
  ranges.some(({ first, last }) => first <= value && value <= last)

export const isSpecialV4 = (value: bigint) => isIn(SPECIAL_V4, value)

/** What carries an IPv4 address to where it belongs is judged by that, everything else by itself. */
export const isSpecialV6 = (value: bigint) =>
  isIn([MAPPED, NAT64], value) ? isSpecialV4(value & 0xffffffffn) : isIn(SPECIAL_V6, value)

/** Numbers from everywhere, and many from within and beside the ranges. */
const addressOf = (bits: number, ranges: Range[]) => {
  const most = (1n << BigInt(bits)) - 1n
  const edges = ranges
    .flatMap(({ first, last }) => [first - 1n, first, first + 1n, last - 1n, last, last + 1n])
    .filter((value) => value >= 0n && value <= most)
  return fc.oneof(
    fc.bigInt({ min: 0n, max: most }),
    fc.constantFrom(...edges),
    fc
      .constantFrom(...ranges)
      .chain(({ first, last }) => fc.bigInt({ min: first, max: last < most ? last : most })),
  )
}

export const v4Value = addressOf(32, SPECIAL_V4)
export const v6Value = fc.oneof(
  addressOf(128, [...SPECIAL_V6, MAPPED, NAT64, v6(48, 0x64, 0xff9b, 1), v6(64, 0x100)]),
  fc
    .tuple(
      fc.constantFrom(
        ...[MAPPED, NAT64, v6(96), v6(96, 0, 0, 0, 0, 0xffff)].map(({ first }) => first),
      ),
      v4Value,
    )
    .map(([prefix, value]) => prefix + value),
)

/** One number as the URL parser takes it: decimal, octal or hexadecimal, with idle noughts. */
const numberText = (value: bigint) =>
  fc.tuple(fc.constantFrom('10', '8', '16', '16X'), fc.nat({ max: 3 })).map(([base, noughts]) => {
    const idle = '0'.repeat(noughts)
    if (base === '10') return value.toString()
    if (base === '8') return `0${idle}${value.toString(8)}`
    if (base === '16') return `0x${idle}${value.toString(16)}`
    return `0X${idle}${value.toString(16).toUpperCase()}`
  })

/** 127.0.0.1, 127.0.1, 127.1 and 2130706433: the last part takes what is left. */
const partsOf = (value: bigint, count: number): bigint[] => {
  const heads = Array.from(
    { length: count - 1 },
    (_, index) => (value >> BigInt(24 - 8 * index)) & 255n,
  )
  return [...heads, value & ((1n << BigInt(32 - 8 * (count - 1))) - 1n)]
}

const asSometimes = (text: string, change: (letter: string) => string) =>
  fc
    .array(fc.boolean(), { minLength: text.length, maxLength: text.length })
    .map((flags) =>
      [...text].map((letter, index) => (flags[index] ? change(letter) : letter)).join(''),
    )

const percent = (letter: string) =>
  `%${letter.charCodeAt(0).toString(16).padStart(2, '0').toUpperCase()}`

export const dotted = (value: bigint) => partsOf(value, 4).join('.')

/** Every text that a URL may have for this IPv4 address. */
export const v4Text = (value: bigint) =>
  fc
    .integer({ min: 1, max: 4 })
    .chain((count) => fc.tuple(...partsOf(value, count).map(numberText)))
    .chain((parts) => fc.constantFrom(parts.join('.'), `${parts.join('.')}.`))
    .chain((text) => fc.oneof(fc.constant(text), asSometimes(text, percent)))

const groupsOf = (value: bigint) =>
  Array.from({ length: 8 }, (_, index) => Number((value >> BigInt(112 - 16 * index)) & 0xffffn))

/** Every text that this IPv6 address has: idle noughts, capitals, `::` somewhere, dots at the end. */
export const v6Text = (value: bigint) =>
  fc
    .record({
      dots: fc.boolean(),
      idle: fc.boolean(),
      shorten: fc.nat({ max: 7 }),
    })
    .map(({ dots, idle, shorten }) => {
      const groups = groupsOf(value)
      const kept = dots ? groups.slice(0, 6) : groups
      const words = kept.map((group) => group.toString(16).padStart(idle ? 4 : 1, '0'))
      if (dots) words.push(dotted(value & 0xffffffffn))
      // A run of noughts from `shorten` on, if there is one there.
      const end = kept.findIndex((group, index) => index >= shorten && group !== 0)
      const length = (end === -1 ? kept.length : end) - shorten
      if (length < 1) return words.join(':')
      return `${words.slice(0, shorten).join(':')}::${words.slice(shorten + length).join(':')}`
    })
    .chain((text) => asSometimes(text, (letter) => letter.toUpperCase()))
