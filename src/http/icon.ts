/** The picture of a tab, a keyhole, sent within each page like its style: nothing more is asked for. */
const SVG = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="4" fill="#1d4ed8"/><circle cx="8" cy="6.5" r="2.5" fill="#fff"/><path d="M7 8h2l.8 4.5H6.2z" fill="#fff"/></svg>`

export const ICON = `data:image/svg+xml,${encodeURIComponent(SVG)}`
