// Express with `cors`; Express answers conditions itself.

import { load, listening, names, representation, serve, site, WRITTEN } from './site.mjs'

const { default: express } = await load('express')
const { default: cors } = await load('cors')

serve(policy => {
  const app = express()
  app.set('env', 'test') // its final handler prints errors in no other
  app.use(cors({
    origin: policy.origins,
    credentials: policy.credentials,
    methods: site.methods,
    allowedHeaders: site.headers,
    exposedHeaders: site.expose,
    maxAge: site.max_age
  }))
  for (const name of names) {
    app.route(`/${name}`)
      .get((req, res) => {
        const { status, fields, body } = representation(name)
        const { Vary, ...others } = fields
        if (Vary) res.vary(Vary)
        res.status(status).set(others).send(body)
      })
      .put((req, res) => res.status(WRITTEN).end())
      .post((req, res) => res.status(WRITTEN).end())
  }
  return listening(app.listen(0, '127.0.0.1'))
})
