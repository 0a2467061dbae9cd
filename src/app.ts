import cookie from '@fastify/cookie'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyPluginAsync,
} from 'fastify'
import { newTimeOrderedId } from './db/ids.ts'
import type { Deps } from './deps.ts'
import { problemErrorHandler } from './http/admin-door.ts'
import { oauthErrorHandler } from './http/client-door.ts'
import { readForms } from './http/form.ts'
import { refuseOtherMethods } from './http/methods.ts'
import { ProblemError } from './http/problem.ts'
import { useValidation } from './http/validation.ts'
import { OAuthError } from './oauth/errors.ts'

// While the rooms are being built: a room that is not there yet is left out.
const room = async (path: string, name: string): Promise<FastifyPluginAsync<Deps> | undefined> => {
  try {
    return (await import(path))[name]
  } catch (error) {
    if ((error as { code?: string }).code === 'ERR_MODULE_NOT_FOUND') return undefined
    throw error
  }
}

export async function createApp(deps: Deps): Promise<FastifyInstance> {
  const app = Fastify({
    loggerInstance: deps.log as FastifyBaseLogger,
    disableRequestLogging: true,
    bodyLimit: 256 * 1024,
    trustProxy: deps.config.trustProxy.length > 0 ? deps.config.trustProxy : false,
    genReqId: () => newTimeOrderedId('', new Date()),
    routerOptions: { ignoreTrailingSlash: false, maxParamLength: 200 },
  }).withTypeProvider<TypeBoxTypeProvider>()
  useValidation(app)
  await app.register(cookie)
  const register = async (scope: FastifyInstance, path: string, name: string) => {
    const plugin = await room(path, name)
    if (plugin) await scope.register(plugin, deps)
  }

  await app.register(async (clients) => {
    readForms(clients)
    clients.setErrorHandler(oauthErrorHandler)
    const close = refuseOtherMethods(clients, () => new OAuthError('invalid_request', 'Use POST'))
    await register(clients, './token/routes.ts', 'tokenRoutes')
    close()
  })
  await app.register(async (users) => {
    const door = await import('./http/user-door.ts' as string).catch(() => undefined)
    readForms(users)
    if (door) door.openUserDoor?.(users, deps)
    await register(users, './sign-in/routes.ts', 'signInRoutes')
    await register(users, './authorize/routes.ts', 'authorizeRoutes')
    await register(users, './consent/routes.ts', 'consentRoutes')
    await register(users, './account/routes.ts', 'accountRoutes')
  })
  await app.register(
    async (admins) => {
      admins.setErrorHandler(problemErrorHandler)
      const authenticate = await import('./admins/authenticate.ts' as string).catch(() => undefined)
      if (authenticate) admins.addHook('onRequest', authenticate.adminGuard(deps))
      const close = refuseOtherMethods(
        admins,
        () => new ProblemError('method_not_allowed', 'See Allow'),
      )
      for (const [path, name] of [
        ['./tenants/routes.ts', 'tenantRoutes'],
        ['./users/routes.ts', 'userRoutes'],
        ['./agents/routes.ts', 'agentRoutes'],
        ['./audiences/routes.ts', 'audienceRoutes'],
        ['./entitlements/routes.ts', 'entitlementRoutes'],
        ['./delegations/routes.ts', 'delegationRoutes'],
        ['./revoke/routes.ts', 'revokeRoutes'],
        ['./keys/routes.ts', 'keyRoutes'],
        ['./audit/routes.ts', 'auditRoutes'],
        ['./admins/routes.ts', 'adminKeyRoutes'],
      ] as const) {
        await register(admins, path, name)
      }
      close()
    },
    { prefix: '/admin/v1' },
  )
  await register(app, './discovery/routes.ts', 'discoveryRoutes')
  await register(app, './http/operations.ts', 'operationsRoutes')
  return app
}
