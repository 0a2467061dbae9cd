/**
 * Whether this may be asked of a name server: letters, digits, hyphens and underscores between dots,
 * in lower case (RFC 1123 §2.1). URLs take a lot more for a host, and resolvers differ on it.
 */
export const isHostName = (text: string): boolean =>
  text.length <= 253 && /^[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$/.test(text)
