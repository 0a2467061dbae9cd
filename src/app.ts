import cookie from '@fastify/cookie'
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify'
import { accountRoutes } from './account/routes.ts'
import { adminGuard } from './admins/authenticate.ts'
import { adminKeyRoutes } from './admins/routes.ts'
import { agentRoutes } from './agents/routes.ts'
import { audienceRoutes } from './audiences/routes.ts'
import { auditRoutes } from './audit/routes.ts'
import { authorizeRoutes } from './authorize/routes.ts'
import { userinfoRoutes } from './authorize/userinfo-routes.ts'
import { consentRoutes } from './consent/routes.ts'
import { newTimeOrderedId } from './db/ids.ts'
import { delegationRoutes } from './delegations/routes.ts'
import type { Deps } from './deps.ts'
import { discoveryRoutes } from './discovery/routes.ts'
import { entitlementRoutes } from './entitlements/routes.ts'
import { eventRoutes } from './events/routes.ts'
import { guardClientsDoor, guardUsersDoor } from './http/address-guard.ts'
import { problemErrorHandler, readJson } from './http/admin-door.ts'
import { bearerErrorHandler, readJsonObjects } from './http/bearer-door.ts'
import { oauthErrorHandler } from './http/client-door.ts'
import { readForms } from './http/form.ts'
import { observeRequests } from './http/logging.ts'
import { refuseOtherMethods } from './http/methods.ts'
import { metricsRoutes, operationsRoutes } from './http/operations.ts'
import { PageError, pageNotFound } from './http/page-error.ts'
import { notFound, ProblemError } from './http/problem.ts'
import { referenceRoutes } from './http/reference.ts'
import { refuseUnstorableText } from './http/shapes.ts'
import { SsfError, ssfErrorHandler } from './http/ssf-door.ts'
import { openUserDoor, userErrorHandler } from './http/user-door.ts'
import { useValidation } from './http/validation.ts'
import { keyRoutes } from './keys/routes.ts'
import { OAuthError } from './oauth/errors.ts'
import { revokeRoutes } from './revoke/routes.ts'
import { ruleRoutes } from './rules/routes.ts'
import { signInRoutes } from './sign-in/routes.ts'
import { receiverRoutes } from './streams/receiver-routes.ts'
import { streamRoutes } from './streams/routes.ts'
import { tenantRoutes } from './tenants/routes.ts'
import { delegateRoutes } from './token/delegate-routes.ts'
import { explainRoutes } from './token/explain-routes.ts'
import { revocationRoutes } from './token/revoke-routes.ts'
import { tokenRoutes } from './token/routes.ts'
import { userRoutes } from './users/routes.ts'

/** Largest body of the admin API, in bytes: an audience with a long scope catalogue. */
const BODY_LIMIT = 256 * 1024

/**
 * The doors: one scope for each kind of caller, with one guard, one dialect for errors and one set of
 * headers. Nothing listens yet.
 */
export async function createApp(deps: Deps): Promise<FastifyInstance> {
  const { trustProxy } = deps.config
  const app = Fastify({
    loggerInstance: deps.log as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_LIMIT,
    trustProxy: trustProxy.length > 0 ? trustProxy : false,
    genReqId: () => newTimeOrderedId('', deps.now()),
    forceCloseConnections: 'idle',
    // Milliseconds to send a whole request: who drips one in holds a connection no longer. Node.js takes the greater
    // of the two for that of the request, and looks for those who are late at intervals.
    requestTimeout: 30_000,
    http: { headersTimeout: 15_000, connectionsCheckingInterval: 5_000 },
    // Milliseconds without a byte in either direction: who reads no answer. No request takes that long.
    connectionTimeout: 60_000,
    // Characters of a parameter in a path: a subject of a trusted issuer is the longest that names something.
    routerOptions: { maxParamLength: 512 },
    // What fails before there is a route: a path that is no URL, a parameter beyond all ids.
    frameworkErrors: (_error, request, reply) => answerUnknownPath(request, reply),
  })
  app.addHook('preClose', (done) => {
    // A connection that has had its answer would otherwise be waited for as long as it may stay idle.
    app.server.keepAliveTimeout = 1
    done()
  })
  useValidation(app)
  observeRequests(app, deps.metrics)
  app.setErrorHandler(problemErrorHandler)
  app.setNotFoundHandler(answerUnknownPath)
  await app.register(cookie)
  await app.register(clientsDoor, deps)
  if (deps.config.delegateTokens) await app.register(delegatesDoor, deps)
  await app.register(signalsDoor, deps)
  await app.register(usersDoor, deps)
  await app.register((admins) => adminsDoor(admins, deps), { prefix: '/admin/v1' })
  await app.register(operatorsDoor, deps)
  await app.register(openDoor, deps)
  return app
}

/** Agents: client authentication, OAuth's errors, nothing to be cached. */
async function clientsDoor(app: FastifyInstance, deps: Deps): Promise<void> {
  app.addHook('onRequest', guardClientsDoor(deps))
  readForms(app)
  app.setErrorHandler(oauthErrorHandler)
  const close = refuseOtherMethods(app, methodNotAllowed)
  await app.register(tokenRoutes, deps)
  await app.register(revocationRoutes, deps)
  await app.register(userinfoRoutes, deps)
  close()
}

const methodNotAllowed = () =>
  new OAuthError('invalid_request', 'This method is not allowed here', { status: 405 })

/** Agents that carry a token issued for this: JSON, the words of the auth.md provider guide. */
async function delegatesDoor(app: FastifyInstance, deps: Deps): Promise<void> {
  app.addHook('onRequest', guardClientsDoor(deps))
  readJsonObjects(app)
  app.setErrorHandler(bearerErrorHandler)
  const close = refuseOtherMethods(app, methodNotAllowed)
  await app.register(delegateRoutes, deps)
  close()
}

/** Receivers of Shared Signals: a token of their own kind, JSON, the errors of RFC 8935. */
async function signalsDoor(app: FastifyInstance, deps: Deps): Promise<void> {
  app.addHook('onRequest', guardClientsDoor(deps))
  readJsonObjects(app)
  app.setErrorHandler(ssfErrorHandler)
  const close = refuseOtherMethods(
    app,
    () => new SsfError(405, 'invalid_request', 'The Allow header lists what this path takes'),
  )
  await app.register(streamRoutes, deps)
  close()
}

/** People: session cookie, anti-forgery token, pages. */
async function usersDoor(app: FastifyInstance, deps: Deps): Promise<void> {
  app.addHook('onRequest', guardUsersDoor(deps))
  openUserDoor(app)
  const close = refuseOtherMethods(
    app,
    () => new PageError(405, 'This is not possible here', 'Go back and use the links of the page.'),
  )
  app.get('/', { config: { undocumented: true } }, async (_request, reply) =>
    reply.redirect('/account', 303),
  )
  await app.register(signInRoutes, deps)
  await app.register(authorizeRoutes, deps)
  await app.register(consentRoutes, deps)
  await app.register(accountRoutes, deps)
  close()
}

/** Administrators: an admin key and its scopes, problem details. */
async function adminsDoor(app: FastifyInstance, deps: Deps): Promise<void> {
  app.addHook('onRequest', adminGuard(deps))
  app.addHook('preValidation', refuseUnstorableText)
  app.setNotFoundHandler(() => {
    throw notFound('path')
  })
  readJson(app)
  const close = refuseOtherMethods(app, noSuchMethod)
  await app.register(tenantRoutes, deps)
  await app.register(userRoutes, deps)
  await app.register(agentRoutes, deps)
  await app.register(audienceRoutes, deps)
  await app.register(entitlementRoutes, deps)
  await app.register(delegationRoutes, deps)
  await app.register(explainRoutes, deps)
  await app.register(ruleRoutes, deps)
  await app.register(revokeRoutes, deps)
  await app.register(eventRoutes, deps)
  await app.register(receiverRoutes, deps)
  await app.register(keyRoutes, deps)
  await app.register(auditRoutes, deps)
  await app.register(adminKeyRoutes, deps)
  close()
}

const noSuchMethod = () =>
  new ProblemError('method_not_allowed', 'The Allow header lists what this path takes')

/** Monitoring: an admin key, at the path where scrapers look. */
async function operatorsDoor(app: FastifyInstance, deps: Deps): Promise<void> {
  app.addHook('onRequest', adminGuard(deps))
  const close = refuseOtherMethods(app, noSuchMethod)
  await app.register(metricsRoutes, deps)
  close()
}

/** Everybody: what is published, and whether the server is well. */
async function openDoor(app: FastifyInstance, deps: Deps): Promise<void> {
  const close = refuseOtherMethods(app, noSuchMethod)
  await app.register(discoveryRoutes, deps)
  await app.register(operationsRoutes, deps)
  await app.register(referenceRoutes)
  close()
}

/** What no door stands at: a page for whoever reads HTML, a problem for programs. */
function answerUnknownPath(request: FastifyRequest, reply: FastifyReply): unknown {
  return /\btext\/html\b/.test(request.headers.accept ?? '')
    ? userErrorHandler(pageNotFound(), request, reply)
    : problemErrorHandler(notFound('path'), request, reply)
}
