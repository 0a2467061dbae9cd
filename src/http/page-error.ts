/** An error meant for a person: what happened and what to do now. Shown as it stands, so it leaks nothing. */
export class PageError extends Error {
  readonly status: number
  readonly title: string
  /** Seconds for `Retry-After`. */
  readonly retryAfter: number | undefined
  /** Where to go on, if there is one such place. */
  readonly link: { href: string; text: string } | undefined

  constructor(
    status: number,
    title: string,
    text: string,
    extra: { retryAfter?: number; link?: PageError['link']; cause?: unknown } = {},
  ) {
    super(text, { cause: extra.cause })
    this.name = 'PageError'
    this.status = status
    this.title = title
    this.retryAfter = extra.retryAfter
    this.link = extra.link
  }
}

/** One wording for what does not exist and for what belongs to somebody else. */
export const pageNotFound = (): PageError =>
  new PageError(404, 'Page not found', 'There is nothing here, or it is not for this account.')

/** The page is for a signed-in user: the door sends the browser to the sign-in page and back. */
export class SignInNeeded extends Error {
  readonly returnTo: string

  constructor(returnTo: string) {
    super('sign-in needed')
    this.name = 'SignInNeeded'
    this.returnTo = returnTo
  }
}
