// Koa with @koa/cors; Koa answers conditions when asked to (`ctx.fresh`).

import { load, listening, names, representation, serve, site, WRITTEN } from './site.mjs'

const { default: Koa } = await load('koa')
const { default: cors } = await load('@koa/cors')

serve(policy => {
  const app = new Koa()
  app.silent = true
  // It takes one origin, or a function: so an allow-list is written in its manual.
  const listed = ctx => policy.origins.find(one => one === ctx.get('Origin')) ?? ''
  app.use(cors({
    origin: policy.origins === '*' ? '*' : listed,
    credentials: policy.credentials,
    allowMethods: site.methods,
    allowHeaders: site.headers,
    exposeHeaders: site.expose,
    maxAge: site.max_age
  }))
  app.use(ctx => {
    const name = ctx.path.slice(1)
    if (!names.includes(name)) return
    if (!['GET', 'HEAD'].includes(ctx.method)) {
      ctx.status = WRITTEN
      return
    }
    const { status, fields, body } = representation(name)
    const { Vary, ...others } = fields
    if (Vary) ctx.vary(Vary)
    ctx.status = status
    ctx.body = body
    ctx.set(others)
    if (ctx.fresh) ctx.status = 304
  })
  return listening(app.listen(0, '127.0.0.1'))
})
