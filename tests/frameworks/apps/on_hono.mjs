// Hono with its cors(). With HONO_ETAG set also with its etag(), whose 304s lose the CORS fields.

import { answer, load, listening, names, serve, site } from './site.mjs'

const { Hono } = await load('hono')
const { cors } = await load('hono/cors')
const { etag } = await load('hono/etag')
const { serve: listen } = await load('@hono/node-server')

serve(policy => {
  const app = new Hono()
  app.use(cors({
    origin: policy.origins,
    credentials: policy.credentials,
    allowMethods: site.methods,
    allowHeaders: site.headers,
    exposeHeaders: site.expose,
    maxAge: site.max_age
  }))
  const tagged = Boolean(process.env.HONO_ETAG)
  if (tagged) app.use(etag())
  app.onError((error, c) => c.text('Internal Server Error', 500, { 'x-error': error.name }))
  for (const name of names) {
    app.on(['GET', 'PUT', 'POST'], `/${name}`, c => {
      const asked = field => tagged ? undefined : c.req.header(field)
      const { status, fields, body } = answer(name, c.req.method, asked)
      for (const [field, value] of Object.entries(fields)) {
        c.header(field, value, { append: field === 'Vary' })
      }
      return c.body(body, status)
    })
  }
  return listening(listen({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }))
})
