// Fastify with @fastify/cors.

import { answer, load, names, serve, site } from './site.mjs'

const { default: fastify } = await load('fastify')
const { default: cors } = await load('@fastify/cors')

serve(async policy => {
  const app = fastify({ forceCloseConnections: true })
  await app.register(cors, {
    origin: policy.origins,
    credentials: policy.credentials,
    methods: site.methods,
    allowedHeaders: site.headers,
    exposedHeaders: site.expose,
    maxAge: site.max_age
  })
  for (const name of names) {
    app.route({
      url: `/${name}`,
      method: ['GET', 'HEAD', 'PUT', 'POST'],
      handler: (request, reply) => {
        const { status, fields, body } = answer(name, request.method, field => request.headers[field])
        const { Vary, ...others } = fields
        if (Vary) reply.header('vary', [reply.getHeader('vary'), Vary].filter(Boolean).join(', '))
        return reply.code(status).headers(others).send(body ?? undefined)
      }
    })
  }
  await app.listen({ port: 0, host: '127.0.0.1' })
  return app.server.address().port
})
