/** Text for people, as patterns for schemas: it can be seen, and reads as it says. */

/** U+2028 and U+2029 end a line; the others turn the text around them, so that it reads as it does not say. */
const NOT_PLAIN = '\\p{Cc}\\u2028-\\u202e\\u2066-\\u2069'
/** Something beside spaces and what nobody sees. */
const SEEN = '(?=[\\s\\S]*[^\\s\\p{Cf}])'

export const LINE_PATTERN = `^${SEEN}[^${NOT_PLAIN}]+$`
export const LINES_PATTERN = `^${SEEN}(?:[^${NOT_PLAIN}]|[\\t\\n\\r])+$`
