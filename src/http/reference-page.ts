import { type Html, html } from './html.ts'
import type {
  Content,
  OpenApiDocument,
  Operation,
  Parameter,
  Response,
} from './openapi-document.ts'
import { describeType, membersOf } from './openapi-members.ts'
import type { JsonSchema } from './openapi-schema.ts'
import type { Page } from './page.ts'
import { PROBLEMS } from './problem.ts'

type Call = { method: string; path: string; operation: Operation }
type Section = { name: string; id: string; description: string | undefined; calls: Call[] }

/** The whole reference on one page: contents, then each call, by tag. */
export function referencePage(api: OpenApiDocument): Page {
  const sections = sectionsOf(api)
  return {
    title: `${api.info.title}: API reference`,
    wide: true,
    body: html`<h1 id="top">${api.info.title} ${api.info.version}: API reference</h1>
${prose(api.info.description)}
<p class="soft">For programs: <a href="/openapi.json">openapi.json</a>, OpenAPI ${api.openapi}.</p>
<nav class="card" aria-label="Contents">
<h2>Contents</h2>
${sections.map(contents)}
<p><a href="#authentication">Authentication</a>, <a href="#problems">Problems</a></p>
</nav>
${sections.map((section) => describeSection(section, api))}
${authentication(api)}
${problems()}`,
  }
}

function sectionsOf({ tags, paths }: OpenApiDocument): Section[] {
  const calls = Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]) => ({
      method: method.toUpperCase(),
      path,
      operation,
    })),
  )
  return tags.map(({ name, description }) => ({
    name,
    id: `tag-${name.replaceAll(' ', '-')}`,
    description,
    calls: calls.filter(({ operation }) => operation.tags[0] === name),
  }))
}

const contents = ({ name, id, calls }: Section): Html => html`<details>
<summary><a href="#${id}">${capital(name)}</a> <span class="soft">${calls.length}</span></summary>
<ul>${calls.map(
  ({ method, path, operation }) =>
    html`<li><a href="#${operation.operationId}"><code>${method} ${breakable(path)}</code></a> ${operation.summary}</li>`,
)}</ul>
</details>
`

const describeSection = (
  { name, id, description, calls }: Section,
  api: OpenApiDocument,
): Html => html`<h2 id="${id}">${capital(name)}</h2>
${description !== undefined && html`<p>${description}. <a href="#top">Contents</a></p>`}
${calls.map((call) => describeCall(call, api))}`

function describeCall({ method, path, operation }: Call, api: OpenApiDocument): Html {
  const parameters = (operation.parameters ?? []).map((one) => resolve<Parameter>(one, api))
  const { requestBody } = operation
  return html`<section class="card" id="${operation.operationId}">
<h3>${operation.summary}</h3>
<p><code>${method} ${breakable(path)}</code></p>
${prose(operation.description ?? '')}
<p>${callers(operation)}</p>
${
  parameters.length > 0 &&
  html`<h4>Parameters</h4>
${list(
  parameters.map(({ in: where, required = false, ...rest }) => ({
    ...rest,
    remarks: [where, required && 'required'],
  })),
)}`
}
${
  requestBody &&
  html`<h4>Body</h4>
${describeContent(requestBody.content, requestBody.required, api)}`
}
<h4>Answers</h4>
${Object.entries(operation.responses).map(([status, response]) =>
  describeResponse(status, resolve<Response>(response, api), api),
)}
</section>
`
}

function callers({ security }: Operation): Html {
  if (security.length === 0) return html`Open to everyone.`
  const schemes = security.flatMap((requirement) => Object.keys(requirement))
  const optional = security.length > schemes.length
  return html`<a href="#authentication">Authentication</a>: ${schemes.map(
    (scheme) => html`<code>${scheme}</code>`,
  )}${optional && ', or credentials in the form'}.`
}

function describeResponse(status: string, response: Response, api: OpenApiDocument): Html {
  const { description, content } = response
  const summary = html`<code>${status}</code> ${inline(description)}`
  return content && Object.keys(content).length > 0
    ? html`<details><summary>${summary}</summary>${describeContent(content, false, api)}</details>
`
    : html`<p>${summary}</p>
`
}

const describeContent = (content: Content, required: boolean, api: OpenApiDocument): Html[] =>
  Object.entries(content).map(([type, { schema }]) => {
    const members = membersOf(schema, api.components.schemas)
    return html`<p class="soft"><code>${type}</code>: ${describeType(schema)}${required && ', required'}</p>
${schema.description !== undefined && html`<p>${inline(schema.description)}</p>`}
${
  members.length > 0 &&
  list(
    members.map(({ path, required, schema: member }) => ({
      name: path,
      remarks: [required && 'required'],
      schema: member,
    })),
  )
}`
  })

type Entry = {
  name: string
  remarks: (string | false)[]
  schema: JsonSchema
  description?: string | undefined
}

const list = (entries: Entry[]): Html => html`<dl>
${entries.map(
  (entry) => html`<dt><strong><code>${breakable(entry.name)}</code></strong> ${[
    describeType(entry.schema),
    ...entry.remarks,
  ]
    .filter(Boolean)
    .join(', ')}</dt>
${meanings(entry).map((part) => html`<dd>${part}</dd>`)}
`,
)}</dl>
`

function meanings({ schema, description = schema.description }: Entry): Html[] {
  const show = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value))
  const { default: standard, examples: [example] = [] } = schema
  return [
    ...(description === undefined ? [] : [inline(description)]),
    ...(standard === undefined ? [] : [html`Unless given: <code>${show(standard)}</code>`]),
    ...(example === undefined ? [] : [html`Such as: <code>${show(example)}</code>`]),
  ]
}

const authentication = ({ components }: OpenApiDocument): Html => html`<section class="card">
<h2 id="authentication">Authentication</h2>
<dl>${Object.entries(components.securitySchemes).map(
  ([name, scheme]) =>
    html`<dt><code>${name}</code></dt><dd>${inline((scheme as { description: string }).description)}</dd>`,
)}</dl>
</section>
`

const problems = (): Html => html`<section class="card">
<h2 id="problems">Problems</h2>
<dl>${Object.entries(PROBLEMS).map(
  ([code, [status, title]]) =>
    html`<dt><a href="/problems/${code}"><code>${breakable(code)}</code></a> ${status}</dt><dd>${title}</dd>
`,
)}</dl>
</section>`

/** A component of the document, or what stands there itself. */
function resolve<Part>(part: Part | { $ref: string }, { components }: OpenApiDocument): Part {
  if (!('$ref' in (part as object))) return part as Part
  const [, , kind = '', name = ''] = (part as { $ref: string }).$ref.split('/')
  return (components as Record<string, Record<string, unknown>>)[kind]?.[name] as Part
}

/** Paragraphs. */
const prose = (text: string): Html[] =>
  text.split('\n\n').flatMap((part) => (part === '' ? [] : [html`<p>${inline(part)}</p>`]))

/** What stands between backticks is code. */
const inline = (text: string): Html =>
  html`${text.split('`').map((part, index) => (index % 2 === 1 ? html`<code>${part}</code>` : part))}`

const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1)

/** A path or a name that a narrow screen may break where a reader would. */
const breakable = (text: string): Html =>
  html`${text.split(/(?<=[/._-])/).map((part) => html`${part}<wbr>`)}`
