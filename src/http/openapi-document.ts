import type { FastifyContextConfig } from 'fastify'
import type {} from './admin-door.ts'
import type { SecurityRequirement } from './openapi-doors.ts'
import type { JsonSchema } from './openapi-schema.ts'

/** What a route declares, and what the document makes of it: the parts of OpenAPI 3.1 that we use. */

export type Route = {
  method: string
  url: string
  schema: RouteSchema
  config: FastifyContextConfig
}

export type RouteSchema = {
  summary?: string
  description?: string
  tags?: string[]
  consumes?: string[]
  produces?: string[]
  params?: unknown
  querystring?: unknown
  headers?: unknown
  body?: unknown
  response?: Record<string, unknown>
}

export type Parameter = {
  name: string
  in: 'path' | 'query' | 'header'
  required?: boolean
  description?: string
  schema: JsonSchema
}
export type Content = Record<string, { schema: JsonSchema }>
export type Reference = { $ref: string }
export type Response = {
  description: string
  headers?: Record<string, { description: string; schema: JsonSchema }>
  content?: Content
}

export type Operation = {
  operationId: string
  summary: string
  description?: string
  tags: string[]
  parameters?: (Parameter | Reference)[]
  requestBody?: { description?: string; required: boolean; content: Content }
  responses: Record<string, Response | Reference>
  security: SecurityRequirement[]
}

export type OpenApiDocument = {
  openapi: string
  info: { title: string; version: string; description: string }
  servers: unknown[]
  tags: { name: string; description?: string }[]
  paths: Record<string, Record<string, Operation>>
  components: {
    schemas: Record<string, JsonSchema>
    responses: Record<string, Response>
    parameters: Record<string, Parameter>
    securitySchemes: Record<string, object>
  }
}
