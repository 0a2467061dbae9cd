// JOSE writes an ECDSA signature as r and s, each as long as the curve's order (RFC 7518 §3.4); OpenSSL wants a
// DER SEQUENCE of two INTEGERs. Converting here is far cheaper than asking node:crypto for `ieee-p1363`.
// `size` is that of r or of s: 32 bytes, or 48. Every DER length then fits the short form.

/** Undefined for what has another length: a zero more or less would be another text for the same signature. */
export function derSignature(raw: Buffer, size: number): Buffer | undefined {
  if (raw.length !== 2 * size) return undefined
  const r = derInteger(raw.subarray(0, size))
  const s = derInteger(raw.subarray(size))
  return Buffer.concat([Buffer.from([0x30, r.length + s.length]), r, s])
}

/** Three bytes longer at the most. */
function derInteger(bytes: Buffer): Buffer {
  let start = 0
  while (start < bytes.length - 1 && bytes[start] === 0) start++
  const magnitude = bytes.subarray(start)
  const padding = (magnitude[0] ?? 0) >= 0x80 ? [0] : []
  return Buffer.concat([
    Buffer.from([0x02, magnitude.length + padding.length, ...padding]),
    magnitude,
  ])
}

export function rawSignature(der: Buffer, size: number): Buffer {
  const rLength = der.readUInt8(3)
  const raw = Buffer.alloc(2 * size)
  placeInteger(raw, size, der.subarray(4, 4 + rLength), size)
  placeInteger(raw, 2 * size, der.subarray(4 + rLength + 2), size)
  return raw
}

/** Right-aligned, so that it ends before `end`; the sign byte falls away. */
function placeInteger(raw: Buffer, end: number, bytes: Buffer, size: number): void {
  const magnitude = bytes.length > size ? bytes.subarray(bytes.length - size) : bytes
  magnitude.copy(raw, end - magnitude.length)
}
