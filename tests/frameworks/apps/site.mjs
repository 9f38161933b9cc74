// What the Node programs serve, read from site.json, and how they serve it.

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

export const site = JSON.parse(readFileSync(new URL('site.json', import.meta.url)))
export const names = [...Object.keys(site.answers), 'crash']
export const WRITTEN = 204 // the status of PUT and POST

// The packages are those of tests/node.
const require = createRequire(new URL('../../node/package.json', import.meta.url))
export const load = async name => import(pathToFileURL(require.resolve(name)))

/** What GET of *name* gives when no condition is asked. Throws for `crash`. */
export function representation (name) {
  if (name === 'crash') throw new Error('this handler always fails')
  const { status, fields } = site.answers[name]
  const validators = status === 200 ? { ETag: site.etag, 'Last-Modified': site.last_modified } : {}
  return { status, fields: { 'Content-Type': 'text/plain', ...fields, ...validators }, body: site.body }
}

/** The answer for frameworks that leave PUT, POST and conditions to the application. */
export function answer (name, method, asked) {
  if (method !== 'GET' && method !== 'HEAD') return { status: WRITTEN, fields: {}, body: null }
  const whole = representation(name)
  if (whole.status !== 200 || !matches(asked)) return whole
  const { 'Content-Type': _, ...fields } = whole.fields
  return { status: 304, fields, body: null }
}

function matches (asked) {
  const tags = asked('if-none-match')
  if (tags !== undefined && tags !== null) {
    return tags === '*' || tags.split(',').some(tag => tag.trim() === site.etag)
  }
  return asked('if-modified-since') === site.last_modified
}

/** Open a port for each policy asked for with *open(policy)* -> port; say where; end with the input. */
export async function serve (open) {
  const ports = {}
  for (const name of process.argv.slice(2)) ports[name] = await open(site.policies[name])
  console.log(JSON.stringify(ports))
  process.stdin.resume()
  process.stdin.on('end', () => process.exit(0))
}

/** The port of a node server, once it listens. */
export const listening = server => new Promise((resolve, reject) => {
  const done = () => resolve(server.address().port)
  if (server.listening) return done()
  server.once('listening', done).once('error', reject)
})
