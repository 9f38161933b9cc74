// Prints every test of the public suite, in its order, as JSON.
// usage: node list.mjs SUITE_DIRECTORY
import path from 'path'
import process from 'process'
import { pathToFileURL } from 'url'

const load = file => import(pathToFileURL(path.resolve(process.argv[2], 'tests', file)))

const suites = [...(await load('index.mjs')).default, (await load('surrogate-control.mjs')).default]
console.log(JSON.stringify(suites.flatMap(suite => suite.tests.map(test => ({
  id: test.id,
  suite: suite.id,
  name: test.name,
  kind: test.kind ?? 'required',
  depends_on: test.depends_on ?? [],
  browser_only: test.browser_only === true
})))))
