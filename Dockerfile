# The production image: the server and what it needs to run, nothing to build or test with.
ARG NODE_IMAGE=node:24.21.0-bookworm-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# What package.json itself lists as optional (a Node.js and a PostgreSQL of our own) stays out: the image
# brings the first, compose the second. `--omit=optional` would be wrong: it also drops the native
# binaries that dependencies take as optional ones, and the first password could not be hashed.
RUN npm ci --omit=dev --ignore-scripts \
 && cd node_modules \
 && rm -rf .bin/node $(node -p "Object.keys(require('../package.json').optionalDependencies).join(' ')")
RUN node -e "import('@node-rs/argon2').then(({ hash }) => hash('the native binary is there'))"
# Root owns the code and everybody may read it, also when it was checked out under a strict umask.
COPY package.json /code/
COPY migrations /code/migrations
COPY src /code/src
COPY docs/openapi.json /code/docs/openapi.json
RUN chmod -R a+rX /code

FROM ${NODE_IMAGE}
# Nothing is written at run time, so that the root file system can be mounted read-only.
ENV NODE_ENV=production NODE_DISABLE_COMPILE_CACHE=1 HOST=0.0.0.0 PORT=4000
WORKDIR /app
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /code ./
# The image's `node` account, as numbers: an orchestrator can then see that it is not root.
USER 1000:1000
EXPOSE 4000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + process.env.PORT + '/livez').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "src/main.ts"]
