/** What is counted. Label values come from closed sets: never an id, a URL or a scope. */
export type Metrics = {
  issued(profile: string): void
  refused(error: string, reason: string): void
  /** Seconds that one request took, by route pattern and status. */
  answered(method: string, route: string, status: number, seconds: number): void
  /** The document that Prometheus scrapes, and its content type. */
  expose(): Promise<{ contentType: string; body: string }>
}
