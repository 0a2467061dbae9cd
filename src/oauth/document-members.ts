import { isObject } from './is-object.ts'

/** The members of a document of others, each as what it should be; a name that is given twice is of the last. */
export type DocumentMembers = {
  /** Whether it is there, be it wrong. */
  has(name: string): boolean
  text(name: string, fits: (text: string) => boolean): string | undefined
  /** Those of a list that fit, each once; undefined unless it is a list. */
  texts(name: string, fits: (text: string) => boolean, most: number): string[] | undefined
  flag(name: string): boolean
  /** Of an object in it. Without one, nothing is there. */
  object(name: string): DocumentMembers
  /** Those that were asked for, and are wrong in whole or in part: they count as far as they are right (DR-21). */
  readonly ignored: readonly string[]
}

export function readMembers(
  document: Record<string, unknown>,
  path = '',
  ignored: string[] = [],
): DocumentMembers {
  const has = (name: string) => Object.hasOwn(document, name) && document[name] !== null
  /** What is there and right, or undefined. */
  const read = <Value>(name: string, right: (value: unknown) => Value | undefined) => {
    const value = has(name) ? right(document[name]) : undefined
    if (has(name) && value === undefined) ignore(name)
    return value
  }
  const ignore = (name: string) => {
    if (!ignored.includes(path + name)) ignored.push(path + name)
  }
  return {
    has,
    ignored,
    text: (name, fits) =>
      read(name, (value) => (typeof value === 'string' && fits(value) ? value : undefined)),
    texts: (name, fits, most) =>
      read(name, (value) => {
        if (!Array.isArray(value)) return undefined
        const right = value.filter((one) => typeof one === 'string' && fits(one)).slice(0, most)
        if (right.length < value.length) ignore(name)
        return [...new Set<string>(right)]
      }),
    flag: (name) =>
      read(name, (value) => (typeof value === 'boolean' ? value : undefined)) ?? false,
    object: (name) =>
      readMembers(
        read(name, (value) => (isObject(value) ? value : undefined)) ?? {},
        `${path}${name}.`,
        ignored,
      ),
  }
}
